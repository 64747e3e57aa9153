/**
 * A container runtime's side of the CNI protocol, over environment, stdin, stdout and exit code, on the fake node of
 * `cni-node.ts`: for the conformance tests.
 */
import { runCni } from "../../src/cni/client/run.ts";
import { createFakeNode, type FakeNode } from "./cni-node.ts";
import type { FakeNamespace } from "./netlink-namespace.ts";

export type Json = Record<string, unknown>;
export type Variables = Readonly<Record<string, string | undefined>>;

/** The namespace of the pod that every runtime starts with. */
export const podNetns = "/run/netns/pod";

export const config = (changes: Json = {}): Json => ({
  cniVersion: "1.0.0",
  name: "pods",
  type: "trivet",
  socket: "/nonexistent/cni.sock",
  ipam: { ranges: [[{ subnet: "10.88.0.0/24" }]] },
  ...changes,
});

export const environment = (command: string, changes: Variables = {}): Variables => ({
  CNI_COMMAND: command,
  CNI_CONTAINERID: "c1",
  CNI_IFNAME: "eth0",
  CNI_NETNS: podNetns,
  CNI_PATH: "/opt/cni/bin",
  ...changes,
});

export interface Outcome {
  readonly exitCode: number;
  readonly stdout: string;
  /** What stdout holds, which must be one JSON document. */
  readonly json: Json;
}

export interface FakeRuntime {
  readonly node: FakeNode;
  invoke(env: Variables, stdin: Json | string): Promise<Outcome>;
  /** An ADD that must succeed; gives its result. */
  add(changes?: Json, env?: Variables): Promise<Json>;
  pod(): FakeNamespace;
}

export function createFakeRuntime(): FakeRuntime {
  const node = createFakeNode();
  node.kernel.addNamespace(podNetns);
  const invoke: FakeRuntime["invoke"] = async (env, stdin) => {
    let stdout = "";
    const exitCode = await runCni({
      env,
      readStdin: async () => (typeof stdin === "string" ? stdin : JSON.stringify(stdin)),
      writeStdout: (text) => {
        stdout += text;
      },
      writeStderr: () => undefined,
      loadDeps: async () => node.boot().deps,
    });
    return { exitCode, stdout, json: stdout === "" ? {} : (JSON.parse(stdout) as Json) };
  };
  return {
    node,
    invoke,
    async add(changes = {}, env = {}) {
      const { exitCode, json } = await invoke(environment("ADD", env), config(changes));
      if (exitCode !== 0 || "code" in json) throw new Error(`ADD failed: ${JSON.stringify(json)}`);
      return json;
    },
    pod() {
      const namespace = node.kernel.namespaceAt(podNetns);
      if (typeof namespace !== "object") throw new Error("the pod's namespace is gone");
      return namespace;
    },
  };
}
