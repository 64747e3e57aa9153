/**
 * What the request of a method says about whom: where in it the pod's configuration lies, or the id, the image, the
 * container. Taken from the descriptors, so that a method that comes with a new API is known by its fields.
 */
import { allMethods, type Method, messageType, methodOf } from "../wire/descriptors.ts";

export interface NamedBy {
  /** The number of the field with the pod's `PodSandboxConfig`. */
  readonly config: number | undefined;
  /** The number of the field with an id, and of what. */
  readonly id: { readonly kind: "sandbox" | "container"; readonly number: number } | undefined;
  /** The path of numbers to an `ImageSpec`. */
  readonly image: readonly number[] | undefined;
  /** The path of numbers to the name of the container. */
  readonly container: readonly number[] | undefined;
  /** The number of the field with the runtime handler. */
  readonly handler: number | undefined;
}

const known = new Map<string, NamedBy>();

function pathTo(message: string, names: readonly string[]): number[] | undefined {
  const path: number[] = [];
  let type: string | undefined = message;
  for (const name of names) {
    const field: ReturnType<ReturnType<typeof messageType>["byName"]["get"]> =
      type === undefined ? undefined : messageType(type).byName.get(name);
    if (!field) return undefined;
    path.push(field.number);
    type = field.message;
  }
  return path;
}

function describe({ request }: Method): NamedBy {
  const { byName } = messageType(request);
  const ofType = (type: string, ...names: string[]) =>
    names.map((name) => byName.get(name)).find((field) => field?.message === type);
  const containerId = byName.get("container_id");
  const sandboxId = byName.get("pod_sandbox_id");
  const container = ofType("ContainerConfig", "config");
  const id =
    (containerId && { kind: "container" as const, number: containerId.number }) ??
    (sandboxId && { kind: "sandbox" as const, number: sandboxId.number });
  return {
    config: ofType("PodSandboxConfig", "config", "sandbox_config")?.number,
    id,
    image: container
      ? [container.number, ...(pathTo("ContainerConfig", ["image"]) ?? [])]
      : pathTo(request, ofType("ImageSpec", "image") ? ["image"] : [""]),
    container: container && [container.number, ...(pathTo("ContainerConfig", ["metadata", "name"]) ?? [])],
    handler: byName.get("runtime_handler")?.number,
  };
}

/** Of a method of our API; undefined for any other. */
export function namedBy(name: string): NamedBy | undefined {
  const method = methodOf(name);
  if (!method) return undefined;
  const found = known.get(name) ?? describe(method);
  known.set(name, found);
  return found;
}

/** What a selector can be about, for each method: a policy that asks for more selects nothing, and is refused. */
export interface Selectable {
  readonly pod: boolean;
  readonly container: boolean;
  readonly image: boolean;
  readonly handler: boolean;
}

export function selectableBy(name: string): Selectable {
  const by = namedBy(name);
  const ofContainer = by?.id?.kind === "container";
  return {
    pod: by?.config !== undefined || by?.id !== undefined,
    container: by?.container !== undefined || ofContainer,
    image: by?.image !== undefined || ofContainer,
    handler: by?.handler !== undefined || by?.id !== undefined,
  };
}

/** Methods that newer runtimes have and our API file has not: known by name, so that policies can refuse them. */
export const undescribedMethods = ["CheckpointPod", "RestorePod"] as const;

/** Every name that `methods` may have. */
export function policyMethodNames(): string[] {
  return [...new Set([...allMethods().map(({ name }) => name), ...undescribedMethods])];
}
