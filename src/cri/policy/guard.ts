/**
 * What no policy may change: the kubelet finds its pods by it, or it is set in another way. Looked at when a policy is
 * loaded. Pure.
 */
import type { ResolvedPath, Step } from "../wire/field-path.ts";

// Kubernetes' own bookkeeping (pod uid, hashes, restart counts): a kubelet that reads it changed loses its pods.
const RESERVED_KEY = /^io\.kubernetes\.|^([a-z0-9.-]+\.)?(kubernetes|k8s)\.io\//;
const ENV_NAME = /^[^=\0]+$/;

const ids = ["pod_sandbox_id", "container_id"];
const identities = ["PodSandboxMetadata", "ContainerMetadata"];
/** They hold the identity of a pod or a container, or its cgroup. */
const guardedMessages = ["PodSandboxConfig", "ContainerConfig", "LinuxPodSandboxConfig"];

/** The keys that a mutation names: in its path, and in `values`. */
function keysOf(last: Step, values: Readonly<Record<string, unknown>> | undefined): string[] {
  if (last.selector?.by === "key") return [last.selector.key];
  return Object.keys(values ?? {});
}

function stepProblem({ field, selector }: Step, first: boolean): string | undefined {
  if (!field) return undefined;
  if (first && field.name === "sandbox_config") {
    return "follows what is done to RunPodSandbox by itself: write the mutation with methods: [RunPodSandbox]";
  }
  if (first && ids.includes(field.name)) return "says who the call is about, which no policy may change";
  if (identities.includes(field.message ?? "")) {
    return "is how the kubelet finds the pod again, which no policy may change";
  }
  if (field.name === "cgroup_parent") {
    return "is left alone: the kubelet makes the pod's cgroup by that name, and accounts for the pod there";
  }
  if (field.map && selector?.by === "key" && isPodKey(field.name) && RESERVED_KEY.test(selector.key)) {
    return `[${selector.key}] belongs to Kubernetes: choose a key of your own domain`;
  }
  return undefined;
}

function isPodKey(name: string): boolean {
  return name === "labels" || name === "annotations";
}

export interface GuardedMutation {
  readonly op: string;
  readonly path: ResolvedPath;
  readonly values: Readonly<Record<string, unknown>> | undefined;
}

/** Why this mutation must not be; undefined where it may. */
export function guardProblem({ path, values }: GuardedMutation): string | undefined {
  for (const [index, step] of path.steps.entries()) {
    const problem = stepProblem(step, index === 0);
    if (problem) return problem;
  }
  const { last } = path;
  const { field, selector } = last;
  if (!field) return undefined;
  if (guardedMessages.includes(field.message ?? "") && !field.repeated) {
    return `holds what no policy may change: name the fields in it, such as ${path.text}.annotations[example.org/key]`;
  }
  if (field.map && isPodKey(field.name)) {
    if (!selector && !values)
      return `as a whole belongs to Kubernetes: name keys, as in ${path.text}[example.org/key] or values`;
    const reserved = keysOf(last, values).find((key) => RESERVED_KEY.test(key));
    if (reserved !== undefined) {
      return `values["${reserved}"]: belongs to Kubernetes: choose a key of your own domain`;
    }
  }
  if (field.message === "KeyValue" && field.name === "envs") {
    const wrong = keysOf(last, values).find((key) => !ENV_NAME.test(key));
    if (wrong !== undefined) return `values["${wrong}"]: is no name of an environment variable`;
  }
  return undefined;
}
