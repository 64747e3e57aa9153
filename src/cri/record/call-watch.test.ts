import { describe, expect, it } from "vitest";
import { createPodIndex } from "../pods/pod-index.ts";
import type { CallEnd } from "../tap/hooks.ts";
import { bytesField } from "../wire/encode.ts";
import type { CallRecord, Decided } from "./call-record.ts";
import { createCallWatch } from "./call-watch.ts";
import { filledMessage } from "./testing/filled-message.ts";

const end: CallEnd = {
  ...{ grpcStatus: 0, grpcMessage: undefined, reset: undefined, requestBytes: 9, responseBytes: 4 },
  timing: { startMs: 1, requestDoneMs: 2, responseStartMs: 3, endMs: 4.25, heldMs: 0.5 },
};

function watching() {
  const records: CallRecord[] = [];
  const pods = createPodIndex();
  const watch = createCallWatch({ pods, nowMs: () => 0, record: (record) => records.push(record) });
  return { records, pods, watch };
}

describe("watching calls", () => {
  it.each([
    ["RunPodSandbox", true, true],
    ["RemoveContainer", true, true],
    ["StopContainer", true, false],
    ["ContainerStatus", true, false],
    ["PullImage", true, false],
    ["ListContainers", false, false],
    ["Version", false, false],
    ["MethodOfTomorrow", false, false],
  ])("of %s it wants the request: %s, the response: %s", (method, hold, observeResponse) => {
    expect(watching().watch.wants(method)).toEqual({ hold, observeResponse });
  });

  it("learns who an id is from the call that made it, as the runtime got it", () => {
    const { watch, records, pods } = watching();
    const run = watch.open({}, "RunPodSandbox");
    const named = (name: string) => bytesField(1, bytesField(1, bytesField(1, name)));
    run.request(named("as-it-came"));
    run.forwarded(named("as-changed"));
    run.response(bytesField(1, "s1"));
    run.end(end);
    expect(pods.sandbox("s1")?.name).toBe("as-changed");
    const stop = watch.open({ listener: "agents" }, "StopPodSandbox");
    stop.request(bytesField(1, "s1"));
    stop.forwarded(bytesField(1, "s1"));
    stop.end(end);
    expect(records[1]).toMatchObject({ pod: "as-changed", sandboxId: "s1", listener: "agents" });
  });

  it("puts off all but what a client is told, and then does it in order", () => {
    const records: CallRecord[] = [];
    const acts: (() => void)[] = [];
    const pods = createPodIndex();
    const watch = createCallWatch({
      pods,
      nowMs: () => 0,
      record: (record) => records.push(record),
      afterwards: (act) => acts.push(act),
    });
    const run = watch.open({}, "RunPodSandbox");
    const request = bytesField(1, bytesField(1, bytesField(1, "web")));
    run.request(request);
    run.decided(request, { changes: [{ policy: "p", field: "f", outcome: "added", after: "x" }] });
    run.forwarded(request);
    run.response(bytesField(1, "s1"));
    run.end(end);
    expect([pods.size, records.length]).toEqual([0, 0]);
    for (const act of acts) act();
    expect(pods.sandbox("s1")?.name).toBe("web");
    expect(records).toMatchObject([{ pod: "web", changes: [{ field: "f" }] }]);
  });

  it("learns nothing from a call that failed, and of a removal also without its answer", () => {
    const { watch, pods } = watching();
    pods.learn("RunPodSandbox", bytesField(1, bytesField(1, bytesField(1, "web"))), bytesField(1, "s1"));
    const remove = (grpcStatus: number) => {
      const call = watch.open({}, "RemovePodSandbox");
      call.request(bytesField(1, "s1"));
      call.forwarded(bytesField(1, "s1"));
      call.end({ ...end, grpcStatus });
    };
    remove(14);
    expect(pods.sandbox("s1")).toBeDefined();
    remove(0);
    expect(pods.sandbox("s1")).toBeUndefined();
  });

  it("tells the time of the runtime from ours, and none of the runtime where it was not asked", () => {
    const { watch, records } = watching();
    watch.open({}, "Version").end(end);
    watch.open({}, "Version").end({ ...end, grpcStatus: 7, answeredByTap: true });
    expect(records[0]).toMatchObject({ totalMs: 3.25, runtimeMs: 2.25, oursMs: 1, heldMs: 0.5 });
    expect(records[1]).toMatchObject({ status: "PERMISSION_DENIED", oursMs: 3.25, answeredByProxy: true });
    expect(records[1]).not.toHaveProperty("runtimeMs");
  });

  it("writes nothing of what policies say that is a secret of the request, and tells who asks the same", () => {
    const { watch, records } = watching();
    const { bytes, secrets } = filledMessage("CreateContainerRequest");
    const said = secrets.join(" and ");
    const decided: Decided = {
      policies: [
        { policy: "a", action: "denied", message: `because of ${said}` },
        { policy: "b", action: "audited" },
      ],
      changes: [{ policy: "b", field: "config.labels[x]", outcome: "changed", before: said, after: said }],
      denied: { policy: "a", message: `because of ${said}` },
      policyError: `failed at ${said}`,
    };
    const call = watch.open({}, "CreateContainer");
    call.request(bytes);
    const told = call.decided(bytes, decided);
    call.end(end);
    expect(JSON.stringify(told)).toContain("because of [redacted]");
    expect(JSON.stringify([told, ...records])).not.toContain("hunter2");
    expect(records[0]).toMatchObject({ denied: told });
  });
});
