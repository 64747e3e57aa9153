/**
 * Applies policies to a request by appending to it: to protobuf, `message + tail` is the message merged with the
 * tail, so nothing is decoded and re-encoded, and fields that we do not know survive byte for byte. Pure.
 */
import { createContainer, runPodSandbox } from "../wire/cri-fields.ts";
import { entryField, nested } from "../wire/encode.ts";
import { eachValue, MessageReader } from "../wire/fields.ts";
import type { AdditionPath, PolicyMethod, RuntimePolicy } from "./schema.ts";

/** What a policy did to one entry: `kept` when the key was there already. The value is never told: it may be secret. */
export interface Change {
  readonly policy: string;
  /** Such as `config.envs[HTTP_PROXY]`. */
  readonly field: string;
  readonly outcome: "added" | "kept";
}

export interface Applied {
  /** The changed request; undefined if no policy added anything. */
  readonly message: Uint8Array | undefined;
  readonly changes: readonly Change[];
}

/** Left alone unless a policy names them: what runs the node must start whatever a policy says. */
export const exemptNamespaces: ReadonlySet<string> = new Set(["kube-system", "trivet-system"]);

/** Where a policy's path lies in the request, as field numbers; the sandbox's copy goes by its own name. */
interface Target {
  readonly field: string;
  readonly path: readonly number[];
}

const ownTargets: Readonly<Record<PolicyMethod, Readonly<Partial<Record<AdditionPath, Target>>>>> = {
  RunPodSandbox: {
    "config.labels": { field: "config.labels", path: runPodSandbox.labels },
    "config.annotations": { field: "config.annotations", path: runPodSandbox.annotations },
  },
  CreateContainer: {
    "config.envs": { field: "config.envs", path: createContainer.envs },
    "config.labels": { field: "config.labels", path: createContainer.labels },
    "config.annotations": { field: "config.annotations", path: createContainer.annotations },
  },
};

// The runtime reads this copy when it makes the container, so it must say what RunPodSandbox was told.
const sandboxCopyTargets: Readonly<Partial<Record<AdditionPath, Target>>> = {
  "config.labels": { field: "sandbox_config.labels", path: createContainer.sandboxLabels },
  "config.annotations": { field: "sandbox_config.annotations", path: createContainer.sandboxAnnotations },
};

export function isPolicyMethod(method: string): method is PolicyMethod {
  return Object.hasOwn(ownTargets, method);
}

function selects(policy: RuntimePolicy, namespace: string): boolean {
  if (policy.namespaces) return policy.namespaces.has(namespace);
  // A request that names no namespace may belong to an exempt one.
  return namespace !== "" && !exemptNamespaces.has(namespace);
}

/** The keys that are there; undefined where the message that would hold them is missing: we make none up. */
function presentKeys(request: MessageReader, path: readonly number[]): Set<string> | undefined {
  const holder = request.submessage(path.slice(0, -1));
  if (!holder) return undefined;
  const keys = new Set<string>();
  eachValue(holder, path.at(-1) ?? 0, (start, end) => {
    keys.add(new MessageReader(holder.subarray(start, end)).text([1]));
  });
  return keys;
}

/** Throws an error of kind `decode` for a request that is not protobuf. */
export function applyPolicies(
  policies: readonly RuntimePolicy[],
  method: PolicyMethod,
  message: Uint8Array,
): Applied {
  const request = new MessageReader(message);
  const fields = method === "RunPodSandbox" ? runPodSandbox : createContainer;
  const namespace = request.text(fields.podNamespace);
  const changes: Change[] = [];
  const tail: Uint8Array[] = [];
  const keys = new Map<Target, Set<string>>();

  const add = (policy: RuntimePolicy, targets: Readonly<Partial<Record<AdditionPath, Target>>>) => {
    for (const { path, entries } of policy.additions) {
      const target = targets[path];
      if (!target) continue;
      const present = keys.get(target) ?? presentKeys(request, target.path);
      if (!present) continue;
      keys.set(target, present);
      for (const [key, value] of entries) {
        const outcome = present.has(key) ? "kept" : "added";
        changes.push({ policy: policy.name, field: `${target.field}[${key}]`, outcome });
        if (outcome === "kept") continue;
        present.add(key);
        tail.push(nested(target.path.slice(0, -1), entryField(target.path.at(-1) ?? 0, key, value)));
      }
    }
  };

  for (const policy of policies) {
    if (!selects(policy, namespace)) continue;
    if (policy.methods.has(method)) add(policy, ownTargets[method]);
    if (method === "CreateContainer" && policy.methods.has("RunPodSandbox")) add(policy, sandboxCopyTargets);
  }
  return { message: tail.length > 0 ? Buffer.concat([message, ...tail]) : undefined, changes };
}
