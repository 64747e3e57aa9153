/** Requests and policies for tests, written as people write them. */
import type { ContainerFacts, PodFacts } from "../../pods/facts.ts";
import { methodOf } from "../../wire/descriptors.ts";
import { type PlainMessage, readMessage } from "../../wire/read.ts";
import { encodeMessage } from "../../wire/value.ts";
import type { PolicyEngineOptions } from "../engine.ts";
import { loadPolicies } from "../load.ts";
import type { RuntimePolicy } from "../policy.ts";

export const sandboxConfig = {
  metadata: { name: "web-1", uid: "uid-1", namespace: "web", attempt: 1 },
  labels: { app: "web", "io.kubernetes.pod.name": "web-1" },
  annotations: { "kubernetes.io/config.source": "api" },
  linux: { cgroup_parent: "/kubepods" },
};

export const containerConfig = {
  metadata: { name: "main", attempt: 0 },
  image: { image: `sha256:${"a1".repeat(32)}`, user_specified_image: "nginx:1.25" },
  command: ["sh"],
  envs: [
    { key: "HTTP_PROXY", value: "http://old" },
    { key: "PASSWORD", value: "hunter2" },
  ],
  mounts: [{ container_path: "/etc/hosts", host_path: "/var/lib/kubelet/hosts" }],
  labels: { app: "web" },
  linux: {
    resources: { memory_limit_in_bytes: 1024 },
    security_context: { privileged: true, capabilities: { add_capabilities: ["NET_RAW", "SYS_ADMIN"] } },
  },
};

export const runPodSandbox = { config: sandboxConfig, runtime_handler: "runc" };
export const createContainer = {
  pod_sandbox_id: "sandbox-1",
  config: containerConfig,
  sandbox_config: sandboxConfig,
};

/** The request of a method on the wire. */
export function requestOf(method: string, message: object): Buffer {
  return encodeMessage(methodOf(method)?.request ?? "", message, method);
}

/** The request of a method, read back. */
export function readRequest(method: string, bytes: Uint8Array): PlainMessage {
  return readMessage(methodOf(method)?.request ?? "", bytes, { redact: false });
}

/** A policy by its spec in YAML, in flow or block style. */
export function policyText(name: string, spec: string): string {
  const lines = spec.trim().split("\n");
  const indent = Math.min(
    ...lines.map((line) => line.length - line.trimStart().length).filter((n, i) => i > 0 || n > 0),
    99,
  );
  const body = lines.map(
    (line, index) => `  ${index === 0 ? line.trimStart() : line.slice(indent === 99 ? 0 : indent)}`,
  );
  return [
    "apiVersion: trivet.dev/v1alpha1",
    "kind: RuntimePolicy",
    `metadata: { name: ${name} }`,
    "spec:",
    ...body,
  ].join("\n");
}

/** Policies by name and spec. */
export function policiesOf(specs: Readonly<Record<string, string>>): RuntimePolicy[] {
  return loadPolicies(
    Object.entries(specs).map(([name, spec]) => ({ file: `${name}.yaml`, text: policyText(name, spec) })),
  );
}

export const pod: PodFacts = {
  sandboxId: "sandbox-1",
  namespace: "web",
  name: "web-1",
  uid: "uid-1",
  labels: new Map([["app", "web"]]),
  annotations: new Map(),
  runtimeHandler: "runc",
  isStatic: false,
  incomplete: false,
};
export const container: ContainerFacts = {
  containerId: "container-1",
  name: "main",
  image: "nginx:1.25",
  pod,
};

type Pods = NonNullable<PolicyEngineOptions["pods"]>;

/** An index that knows these by their ids at once. */
export function knownPods(pods: readonly PodFacts[], containers: readonly ContainerFacts[] = []): Pods {
  const sandbox = (id: string) => pods.find(({ sandboxId }) => sandboxId === id);
  const ofContainer = (id: string) => containers.find(({ containerId }) => containerId === id);
  const lookup = async (kind: "sandbox" | "container", id: string) =>
    kind === "sandbox" ? sandbox(id) : ofContainer(id);
  return { sandbox, container: ofContainer, lookup: lookup as Pods["lookup"] };
}
