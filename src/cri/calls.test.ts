import { describe, expect, it } from "vitest";
import { createCalls, methodOf } from "./calls.ts";
import type { RuntimePolicy } from "./policy/schema.ts";
import { type CallRecord, recordLevel, statusName } from "./record/call-record.ts";
import { subjectOf } from "./record/subject.ts";
import type { CallEnd } from "./tap/hooks.ts";
import { bytesField, entryField } from "./wire/encode.ts";

const secret = "hunter2-in-plain-sight";

const sandbox = Buffer.concat([
  bytesField(1, Buffer.concat([bytesField(1, "web-1"), bytesField(2, "uid-1"), bytesField(3, "default")])),
  entryField(7, "example.org/token", secret),
]);
const container = Buffer.concat([
  bytesField(1, Buffer.from(bytesField(1, "main"))),
  bytesField(2, Buffer.concat([bytesField(1, "sha256:abc"), bytesField(18, "registry.example.org/web:1")])),
  bytesField(3, secret), // command
  bytesField(4, secret), // args
  entryField(6, "PASSWORD", secret),
  entryField(10, "example.org/token", secret),
]);
const createContainer = Buffer.concat([
  bytesField(1, "sandbox-1"),
  bytesField(2, container),
  bytesField(3, sandbox),
]);

const policy: RuntimePolicy = {
  name: "add-secret",
  methods: new Set(["CreateContainer"]),
  namespaces: undefined,
  additions: [{ path: "config.envs", entries: new Map([["ADDED", secret]]) }],
};

const end: CallEnd = {
  grpcStatus: 0,
  grpcMessage: undefined,
  reset: undefined,
  requestBytes: 100,
  responseBytes: 10,
  timing: { startMs: 1, requestDoneMs: 2, responseStartMs: 3, endMs: 4.25, heldMs: 0.5 },
};

function observe(policies: readonly RuntimePolicy[], method: string) {
  const records: CallRecord[] = [];
  const calls = createCalls({ policies, record: (record) => records.push(record), nowMs: () => 0 });
  const started = calls.onRequest({
    streamId: 1,
    path: `/runtime.v1.RuntimeService/${method}`,
    connectionId: 1,
  });
  return { records, ...started };
}

describe("a call through the proxy", () => {
  it.each([
    ["RunPodSandbox", true],
    ["CreateContainer", true],
    ["StartContainer", true],
    ["ListContainers", false],
    ["MethodOfTomorrow", false],
  ])("holds the request of %s: %s", (method, hold) => {
    expect(observe([policy], method).hold).toBe(hold);
    expect(observe([], method).hold).toBe(hold);
  });

  it("is recorded with who it is about, what changed and how long it took", () => {
    const { call, records } = observe([policy], "CreateContainer");
    expect(call?.edit?.(createContainer)).toMatchObject({ action: "replace" });
    call?.onEnd(end);
    expect(records).toEqual([
      {
        time: "1970-01-01T00:00:00.000Z",
        method: "CreateContainer",
        namespace: "default",
        pod: "web-1",
        podUid: "uid-1",
        container: "main",
        image: "registry.example.org/web:1",
        sandboxId: "sandbox-1",
        status: "OK",
        totalMs: 3.25,
        runtimeMs: 2.25,
        oursMs: 1,
        heldMs: 0.5,
        requestBytes: 100,
        responseBytes: 10,
        changes: [{ policy: "add-secret", field: "config.envs[ADDED]", outcome: "added" }],
      },
    ]);
  });

  it("leaves no argument, environment value or annotation in its record", () => {
    const { call, records } = observe([policy], "CreateContainer");
    call?.edit?.(createContainer);
    call?.onEnd({ ...end, grpcStatus: 2, grpcMessage: `rejected ${secret}` });
    expect(JSON.stringify(records)).not.toContain(secret);
  });

  it("goes on as it came if it cannot be read, and the record says why", () => {
    const { call, records } = observe([policy], "CreateContainer");
    expect(call?.edit?.(Buffer.from([0x12, 0xff]))).toEqual({ action: "forward" });
    call?.onEnd(end);
    expect(records[0]?.policyError).toMatch(/ends within/);
  });

  it("keeps the whole path of what is not CRI v1", () => {
    expect(methodOf("/runtime.v1.ImageService/PullImage")).toBe("PullImage");
    expect(methodOf("/runtime.v2.RuntimeService/Version")).toBe("/runtime.v2.RuntimeService/Version");
  });
});

describe("the record", () => {
  it.each([
    [{ grpcStatus: 0, reset: undefined }, "OK"],
    [{ grpcStatus: 14, reset: undefined }, "UNAVAILABLE"],
    [{ grpcStatus: 99, reset: undefined }, "status-99"],
    [{ grpcStatus: undefined, reset: "client" as const }, "reset-by-client"],
    [{ grpcStatus: undefined, reset: "upstream" as const }, "reset-by-upstream"],
    [{ grpcStatus: undefined, reset: "connection" as const }, "connection-lost"],
    [{ grpcStatus: undefined, reset: undefined }, "no-status"],
  ])("calls %j %s", (ended, name) => {
    expect(statusName(ended)).toBe(name);
  });

  it.each([
    ["ListContainers", "OK", "debug"],
    ["ContainerStatus", "NOT_FOUND", "debug"],
    ["Status", "UNAVAILABLE", "warn"],
    ["RunPodSandbox", "OK", "info"],
    ["RunPodSandbox", "UNKNOWN", "warn"],
    ["GetContainerEvents", "OK", "info"],
  ])("logs %s with %s at %s", (method, status, level) => {
    const record = { method, status, time: "", totalMs: 0, heldMs: 0, requestBytes: 0, responseBytes: 0 };
    expect(recordLevel(record)).toBe(level);
  });

  it("keeps what is no name short, and on one line", () => {
    const metadata = bytesField(
      1,
      Buffer.concat([Buffer.from([0x0a, 0xc0, 0x84, 0x3d]), Buffer.alloc(1_000_000, "\n")]),
    );
    const subject = subjectOf("RunPodSandbox", bytesField(1, metadata));
    expect(subject.pod).toHaveLength(512);
    expect(JSON.stringify(subject)).not.toContain("\n");
  });

  it("names nobody for a request that it does not know or cannot read", () => {
    expect(subjectOf("ListContainers", createContainer)).toEqual({});
    expect(subjectOf("CreateContainer", Buffer.from([0xff]))).toEqual({});
  });
});
