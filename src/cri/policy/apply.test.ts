import protobuf from "protobufjs";
import { describe, expect, it } from "vitest";
import { bytesField } from "../wire/encode.ts";
import { applyPolicies, isPolicyMethod } from "./apply.ts";
import type { Addition, PolicyMethod, RuntimePolicy } from "./schema.ts";

const root = protobuf.loadSync(new URL("../../../proto/runtime/v1/api.proto", import.meta.url).pathname);
const CreateContainer = root.lookupType("runtime.v1.CreateContainerRequest");
const RunPodSandbox = root.lookupType("runtime.v1.RunPodSandboxRequest");
// A field of a version to come: 900 = "later", inside the container's configuration and beside it.
const unknown = Buffer.concat([bytesField(2, bytesField(900, "later")), bytesField(900, "later")]);

interface Entry {
  key: string;
  value: Uint8Array;
}

function containerRequest(namespace = "default"): Buffer {
  const config = {
    metadata: { name: "main" },
    image: { image: "sha256:1" },
    envs: [{ key: "PATH", value: Buffer.from("/bin") }],
    labels: { app: "web" },
  };
  const sandboxConfig = { metadata: { name: "web-1", uid: "u1", namespace }, labels: { app: "web" } };
  const message = CreateContainer.encode(
    CreateContainer.fromObject({ podSandboxId: "s1", config, sandboxConfig }),
  );
  return Buffer.concat([message.finish(), unknown]);
}

function sandboxRequest(namespace = "default"): Buffer {
  const config = { metadata: { name: "web-1", uid: "u1", namespace }, annotations: { a: "1" } };
  return Buffer.from(RunPodSandbox.encode(RunPodSandbox.fromObject({ config })).finish());
}

/** What a runtime reads: protobufjs 7 does not merge a repeated submessage, so merge before decoding. */
function merged(message: Uint8Array, number: number): Buffer {
  const parts: Uint8Array[] = [];
  const reader = protobuf.Reader.create(message);
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag >>> 3 === number) parts.push(reader.bytes());
    else reader.skipType(tag & 7);
  }
  return Buffer.concat(parts);
}

const containerConfig = (message: Uint8Array) =>
  root.lookupType("runtime.v1.ContainerConfig").decode(merged(message, 2)).toJSON() as {
    envs: { key: string; value: string }[];
    labels: Record<string, string>;
    annotations?: Record<string, string>;
  };
const sandboxConfig = (message: Uint8Array, number: number) =>
  root.lookupType("runtime.v1.PodSandboxConfig").decode(merged(message, number)).toJSON() as {
    metadata: { name: string };
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };

function policy(
  methods: PolicyMethod[],
  path: Addition["path"],
  entries: Record<string, string>,
  namespaces?: string[],
): RuntimePolicy {
  return {
    name: `add-${path}`,
    methods: new Set(methods),
    namespaces: namespaces && new Set(namespaces),
    additions: [{ path, entries: new Map(Object.entries(entries)) }],
  };
}

describe("applying policies to a request", () => {
  it("adds an environment variable behind those that are there", () => {
    const { message, changes } = applyPolicies(
      [policy(["CreateContainer"], "config.envs", { HTTP_PROXY: "http://p" })],
      "CreateContainer",
      containerRequest(),
    );
    const { envs } = containerConfig(message ?? Buffer.alloc(0));
    expect(envs.map(({ key, value }) => [key, Buffer.from(value, "base64").toString()])).toEqual([
      ["PATH", "/bin"],
      ["HTTP_PROXY", "http://p"],
    ]);
    expect(changes).toEqual([
      { policy: "add-config.envs", field: "config.envs[HTTP_PROXY]", outcome: "added" },
    ]);
  });

  it("leaves the bytes that came as they are, unknown fields among them, and only appends", () => {
    const original = containerRequest();
    const { message } = applyPolicies(
      [policy(["CreateContainer"], "config.labels", { team: "edge" })],
      "CreateContainer",
      original,
    );
    expect(message?.subarray(0, original.length)).toEqual(original);
    expect(containerConfig(message ?? original).labels).toEqual({ app: "web", team: "edge" });
  });

  it("keeps a variable that the pod sets itself, and says so", () => {
    const { message, changes } = applyPolicies(
      [policy(["CreateContainer"], "config.envs", { PATH: "/evil" })],
      "CreateContainer",
      containerRequest(),
    );
    expect(message).toBeUndefined();
    expect(changes).toEqual([{ policy: "add-config.envs", field: "config.envs[PATH]", outcome: "kept" }]);
  });

  it("lets the first of two policies win", () => {
    const first = policy(["CreateContainer"], "config.envs", { X: "1" });
    const { message, changes } = applyPolicies(
      [first, { ...policy(["CreateContainer"], "config.envs", { X: "2" }), name: "second" }],
      "CreateContainer",
      containerRequest(),
    );
    expect(changes.map(({ outcome }) => outcome)).toEqual(["added", "kept"]);
    expect(containerConfig(message ?? Buffer.alloc(0)).envs).toHaveLength(2);
  });

  it("changes a sandbox and the copy of it that each container carries in the same way", () => {
    const policies = [policy(["RunPodSandbox"], "config.annotations", { "example.org/zone": "b" })];
    const sandbox = applyPolicies(policies, "RunPodSandbox", sandboxRequest()).message;
    const container = applyPolicies(policies, "CreateContainer", containerRequest()).message;
    expect(sandboxConfig(sandbox ?? Buffer.alloc(0), 1).annotations).toEqual({
      a: "1",
      "example.org/zone": "b",
    });
    const copy = sandboxConfig(container ?? Buffer.alloc(0), 3);
    expect(copy.annotations).toEqual({ "example.org/zone": "b" });
    expect(copy.metadata.name).toBe("web-1");
    expect(containerConfig(container ?? Buffer.alloc(0)).annotations).toBeUndefined();
  });

  it.each([
    ["default", ["default"], true],
    ["default", ["other"], false],
    ["default", undefined, true],
    ["kube-system", undefined, false],
    ["trivet-system", undefined, false],
    ["kube-system", ["kube-system"], true],
    ["", undefined, false],
  ])("in namespace %s, with namespaces %j: applies is %s", (namespace, namespaces, applies) => {
    const policies = [policy(["CreateContainer"], "config.envs", { X: "1" }, namespaces)];
    const { message } = applyPolicies(policies, "CreateContainer", containerRequest(namespace));
    expect(message !== undefined).toBe(applies);
  });

  it("makes up no configuration where the request has none", () => {
    const bare = bytesField(1, "s1");
    const policies = [policy(["CreateContainer", "RunPodSandbox"], "config.labels", { team: "edge" })];
    expect(applyPolicies(policies, "CreateContainer", bare)).toEqual({ message: undefined, changes: [] });
  });

  it.each(["constructor", "toString", "__proto__"])("takes %s for no method of a policy", (method) => {
    expect(isPolicyMethod(method)).toBe(false);
  });

  it("refuses a request that is no protobuf", () => {
    const policies = [policy(["CreateContainer"], "config.envs", { X: "1" })];
    const bad = Buffer.from([0x12, 0xff]);
    expect(() => applyPolicies(policies, "CreateContainer", bad)).toThrow(
      expect.objectContaining({ kind: "decode" }),
    );
  });

  it("treats values as bytes: one that is no UTF-8 survives", () => {
    const entry: Entry = { key: "RAW", value: Buffer.from([0xff, 0x00, 0xfe]) };
    const message = CreateContainer.encode(
      CreateContainer.fromObject({
        config: { metadata: { name: "m" }, envs: [entry] },
        sandboxConfig: { metadata: { namespace: "default" } },
      }),
    ).finish();
    const policies = [policy(["CreateContainer"], "config.envs", { X: "1" })];
    const changed = applyPolicies(policies, "CreateContainer", message).message ?? Buffer.alloc(0);
    expect(containerConfig(changed).envs[0]?.value).toBe(Buffer.from([0xff, 0x00, 0xfe]).toString("base64"));
  });
});
