import { describe, expect, it } from "vitest";
import { createCalls, methodOf } from "./calls.ts";
import { createPolicyEngine, type PolicyEngineOptions } from "./policy/engine.ts";
import { loadPolicies } from "./policy/load.ts";
import type { RuntimePolicy } from "./policy/policy.ts";
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

function policyOf(name: string, spec: string): RuntimePolicy {
  const text = `{ apiVersion: trivet.dev/v1alpha1, kind: RuntimePolicy, metadata: { name: ${name} }, spec: ${spec} }`;
  const [policy] = loadPolicies([{ file: "policy.yaml", text }]);
  if (!policy) throw new Error("no policy");
  return policy;
}

const policy = policyOf(
  "add-secret",
  `{ methods: [CreateContainer], mutations: [{ op: add, path: config.envs, values: { ADDED: ${secret} } }] }`,
);
const refuse = policyOf(
  "no-exec",
  '{ methods: [Exec], validations: [{ expression: "false", message: no }] }',
);

const pod = {
  namespace: "default",
  name: "web-1",
  uid: "uid-1",
  labels: new Map<string, string>(),
  annotations: new Map<string, string>(),
  runtimeHandler: "",
  isStatic: false,
  incomplete: false,
};

const end: CallEnd = {
  grpcStatus: 0,
  grpcMessage: undefined,
  reset: undefined,
  requestBytes: 100,
  responseBytes: 10,
  timing: { startMs: 1, requestDoneMs: 2, responseStartMs: 3, endMs: 4.25, heldMs: 0.5 },
};

interface Observed {
  readonly pods?: PolicyEngineOptions["pods"];
  readonly unknownMethods?: "allow" | "deny";
}

function observe(
  policies: readonly RuntimePolicy[],
  method: string,
  { pods, unknownMethods }: Observed = {},
) {
  const records: CallRecord[] = [];
  const calls = createCalls({
    policies: policies.length > 0 ? createPolicyEngine({ policies, ...(pods && { pods }) }) : undefined,
    record: (record) => records.push(record),
    nowMs: () => 0,
    ...(unknownMethods && { unknownMethods }),
  });
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
    ["ListContainers", false],
    ["MethodOfTomorrow", false],
  ])("holds the request of %s: %s", (method, hold) => {
    expect(observe([policy], method).hold).toBe(hold);
    expect(observe([], method).hold).toBe(hold);
  });

  it("is held if a policy is about it", () => {
    expect(observe([], "ListImages").hold).toBe(false);
    const listImages = policyOf("p", '{ methods: [ListImages], validations: [{ expression: "false" }] }');
    expect(observe([listImages], "ListImages").hold).toBe(true);
  });

  it("of a method that nobody knows is refused at once where that is asked for", () => {
    const { deny, hold, call, records } = observe([], "MethodOfTomorrow", { unknownMethods: "deny" });
    expect({ deny, hold }).toMatchObject({ deny: { status: 7 }, hold: false });
    call?.onEnd({ ...end, grpcStatus: 7 });
    expect(records).toMatchObject([{ method: "MethodOfTomorrow", status: "PERMISSION_DENIED" }]);
    expect(observe([], "Version", { unknownMethods: "deny" }).deny).toBeUndefined();
    expect(observe([], "MethodOfTomorrow").deny).toBeUndefined();
  });

  it("of the API before v1 is no way around a policy about its method", () => {
    const path = (service: string, method: string) => `/runtime.v1alpha2.${service}/${method}`;
    const calls = createCalls({
      policies: createPolicyEngine({ policies: [refuse] }),
      record: () => undefined,
      nowMs: () => 0,
    });
    const plan = (to: string) => calls.onRequest({ streamId: 1, path: to, connectionId: 1 });
    expect(plan(path("RuntimeService", "Exec"))).toMatchObject({ hold: false, deny: { status: 12 } });
    expect(plan(path("RuntimeService", "Version")).deny).toBeUndefined();
    const none = createCalls({ record: () => undefined, nowMs: () => 0 });
    const exec = { streamId: 1, path: path("RuntimeService", "Exec"), connectionId: 1 };
    expect(none.onRequest(exec).deny).toBeUndefined();
  });

  it("is refused in the name of the policy", async () => {
    const container = { containerId: "c1", name: "main", image: "nginx", pod: { ...pod, sandboxId: "s1" } };
    const pods = { sandbox: () => undefined, container: () => undefined, lookup: async () => container };
    const { call, records } = observe([refuse], "Exec", {
      pods: pods as unknown as NonNullable<Observed["pods"]>,
    });
    const decision = call?.edit?.(Buffer.from(bytesField(1, "c1")));
    expect(decision).toBeInstanceOf(Promise);
    expect(await decision).toEqual({ action: "deny", status: 7, message: "denied by policy no-exec: no" });
    call?.onEnd({ ...end, grpcStatus: 7 });
    expect(records).toMatchObject([
      {
        policies: [{ policy: "no-exec", action: "denied", message: "no" }],
        denied: { policy: "no-exec", message: "no" },
      },
    ]);
  });

  it("that ends while the runtime is asked about it is forwarded to nobody", async () => {
    const asked = Promise.withResolvers<undefined>();
    const pods = { sandbox: () => undefined, container: () => undefined, lookup: () => asked.promise };
    const { call, records } = observe([refuse], "Exec", { pods });
    const decision = call?.edit?.(Buffer.from(bytesField(1, "c1")));
    call?.onEnd({ ...end, grpcStatus: undefined, reset: "client" });
    asked.resolve(undefined);
    expect(await decision).toEqual({ action: "forward" });
    expect(records).toHaveLength(1);
    expect(records[0]).not.toHaveProperty("policies");
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
        policies: [{ policy: "add-secret", action: "mutated" }],
        changes: [
          { policy: "add-secret", field: "config.envs[ADDED]", outcome: "added", after: '"[redacted]"' },
        ],
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
    expect(records[0]?.policies).toMatchObject([
      { policy: "add-secret", action: "ignored" }, // with no more text than can be shown to hold no secret
    ]);
  });

  it("keeps the whole path of what is not CRI v1", () => {
    expect(methodOf("/runtime.v1.ImageService/PullImage")).toBe("PullImage");
    expect(methodOf("/runtime.v2.RuntimeService/Version")).toBe("/runtime.v2.RuntimeService/Version");
    const long = "x".repeat(1 << 20);
    for (const path of [`/${long}`, `/runtime.v1.RuntimeService/${long}`]) {
      expect(methodOf(path)).toBe(path.slice(0, 512));
    }
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
