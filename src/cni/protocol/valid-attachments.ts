/** The list that GC is called with: what the runtime still has (SPEC.md, "GC"). Everything else of the network is removed. */
import type { ContainerInterface } from "./environment.ts";
import { createProblems, isObject, type JsonObject } from "./problems.ts";

/** libcni sends both; the second is what its first releases with GC sent by mistake. */
const keys = ["cni.dev/valid-attachments", "cni.dev/attachments"] as const;

/**
 * Throws kind `invalid`: a list that is missing or cannot be read must not pass for an empty one. Null is one: so libcni writes the
 * list of a runtime that has no pod.
 */
export function parseValidAttachments(config: JsonObject): ContainerInterface[] {
  const problems = createProblems(String(config.name ?? ""));
  const given = keys.filter((name) => config[name] !== undefined);
  const key = given.find((name) => config[name] !== null) ?? given[0] ?? keys[0];
  const list = config[key] === null ? [] : config[key];
  if (!Array.isArray(list)) {
    problems.invalid(key, list, "GC needs the list of the attachments that are valid, which may be empty");
  }
  const entries: readonly unknown[] = Array.isArray(list) ? list : [];
  const valid = entries.flatMap((entry, index) => {
    const { containerID: containerId, ifname } = isObject(entry) ? entry : ({} as JsonObject);
    if (typeof containerId === "string" && typeof ifname === "string") return [{ containerId, ifname }];
    problems.invalid(`${key}[${index}]`, entry, "it must have a containerID and an ifname");
    return [];
  });
  problems.throwIfAny();
  return valid;
}
