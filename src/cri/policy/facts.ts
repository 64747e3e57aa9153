/**
 * Who a call is about, for selectors and expressions: read from the request where it says so, else known by its id. Only
 * what is asked for is read.
 */
import { type ContainerFacts, isStaticPod, type LeftOut, type PodFacts } from "../pods/facts.ts";
import { eachValue, MessageReader } from "../wire/fields.ts";
import { readEntry, readMessage } from "../wire/read.ts";
import type { PodValues } from "./cel/environment.ts";
import { ExpressionFailure } from "./cel/failure.ts";
import { type NamedBy, namedBy } from "./named-by.ts";

/** Thrown where it cannot be told whether a policy is about a call, or what it says: `failurePolicy` decides then. */
export class PolicyFailure extends ExpressionFailure {}

export interface CallFacts {
  /** Undefined for a call that names no pod. Throws a PolicyFailure where its id is not known. */
  pod(): FactsOfPod | undefined;
  container(): string | undefined;
  /** As written; undefined for a call that names none. Throws a PolicyFailure where only an id of it is known. */
  image(): string | undefined;
}

export interface FactsOfPod extends PodValues {
  /** Somebody else than the kubelet says so: nothing is exempt by that. */
  readonly claimed?: boolean;
}

/** What the id in a request was found to be; `undefined` where it was not found, a text where it could not be asked. */
export type FoundById =
  | { readonly kind: "sandbox"; readonly pod: PodFacts }
  | { readonly kind: "container"; readonly container: ContainerFacts }
  | { readonly kind: "unknown"; readonly why: string };

// Offsets in every API since v1: PodSandboxConfig and PodSandboxMetadata.
const config = { metadata: 1, labels: 6, annotations: 7 } as const;
const metadata = { name: 1, uid: 2, namespace: 3 } as const;

/** A pod as its own configuration says it, read when asked. */
class ConfiguredPod implements FactsOfPod {
  readonly claimed: boolean;
  readonly #handler: string | undefined;
  readonly #reader: MessageReader;
  #namespace: string | undefined;
  #labels: ReadonlyMap<string, string> | undefined;
  #annotations: ReadonlyMap<string, string> | undefined;

  constructor(message: Uint8Array, { handler, claimed }: { handler: string | undefined; claimed: boolean }) {
    this.#reader = new MessageReader(message);
    this.#handler = handler;
    this.claimed = claimed;
  }

  get runtimeHandler(): string {
    if (this.#handler === undefined) throw new PolicyFailure("the runtime handler of its pod is not known");
    return this.#handler;
  }

  get namespace(): string {
    this.#namespace ??= this.#reader.text([config.metadata, metadata.namespace]);
    return this.#namespace;
  }

  get name(): string {
    return this.#reader.text([config.metadata, metadata.name]);
  }

  get uid(): string {
    return this.#reader.text([config.metadata, metadata.uid]);
  }

  get labels(): ReadonlyMap<string, string> {
    this.#labels ??= this.#map(config.labels);
    return this.#labels;
  }

  get annotations(): ReadonlyMap<string, string> {
    this.#annotations ??= this.#map(config.annotations);
    return this.#annotations;
  }

  get isStatic(): boolean {
    return isStaticPod(this.annotations);
  }

  #map(number: number): Map<string, string> {
    const found = new Map<string, string>();
    const own = this.#reader.submessage([]) ?? Buffer.alloc(0);
    eachValue(own, number, (start, end) => {
      const { key, value } = readEntry(own.subarray(start, end));
      found.set(key, value);
    });
    return found;
  }
}

function podOf(facts: PodFacts): FactsOfPod {
  const { labels, annotations, leftOut, incomplete } = facts;
  const all = { labels: "many", annotations: new Set<string>() } as const;
  const missing = leftOut ?? (incomplete ? all : undefined);
  if (!missing) return facts;
  return {
    ...facts,
    labels: withLeftOut(labels, missing.labels, "labels"),
    annotations: withLeftOut(annotations, missing.annotations, "annotations"),
  };
}

/**
 * The map, which fails where somebody asks for what was left out of it. A plain Map to all who look at its class, as the
 * library of expressions does.
 */
function withLeftOut(
  kept: ReadonlyMap<string, string>,
  leftOut: LeftOut,
  what: string,
): ReadonlyMap<string, string> {
  if (leftOut !== "many" && leftOut.size === 0) return kept;
  const map = new Map(kept);
  const fail = (which: string): never => {
    throw new PolicyFailure(`the pod has more ${what} than are kept of it, ${which} may be among them`);
  };
  const check = (key: string) => {
    if (!kept.has(key) && (leftOut === "many" || leftOut.has(key))) fail(key);
  };
  const all = () => fail("the one that is looked for");
  return Object.assign(map, {
    get(key: string) {
      check(key);
      return kept.get(key);
    },
    has(key: string) {
      check(key);
      return kept.has(key);
    },
    ...{ keys: all, values: all, entries: all, forEach: all, [Symbol.iterator]: all },
  });
}

const nothing: NamedBy = {
  config: undefined,
  id: undefined,
  image: undefined,
  container: undefined,
  handler: undefined,
};

export interface FactsOptions {
  readonly method: string;
  readonly message: Uint8Array;
  /** What the id in the request was found to be, where it has one and was asked for. */
  readonly found: FoundById | undefined;
  /** The handler that the pod's sandbox was started with, where that is known. */
  readonly runtimeHandler?: string | undefined;
  /**
   * By which extra listener the request came. What is said there of a pod is not the kubelet's word: it exempts nothing, and
   * must fit the id beside it.
   */
  readonly listener?: string | undefined;
}

/** Reads nothing yet. The functions throw an error of kind `decode` for a request that cannot be read. */
export function factsOf({ method, message, found, runtimeHandler, listener }: FactsOptions): CallFacts {
  const by = namedBy(method) ?? nothing;
  const reader = new MessageReader(message);
  let pod: FactsOfPod | undefined;
  const readPod = (): FactsOfPod | undefined => {
    const own = by.config === undefined ? undefined : reader.submessage([by.config]);
    if (own) {
      const named = by.handler === undefined ? undefined : reader.text([by.handler]);
      const byId = found?.kind === "sandbox" ? found.pod.runtimeHandler : undefined;
      const claimed = listener !== undefined;
      const configured = new ConfiguredPod(own, { handler: named ?? runtimeHandler ?? byId, claimed });
      // The main socket is root's, who needs no detour; what the kubelet says of its pods is taken as it is.
      if (by.id && claimed) checkSamePod(configured, found);
      return configured;
    }
    if (!by.id) return undefined;
    if (!found || found.kind === "unknown") throw unknown(by.id.kind, found?.why);
    return podOf(found.kind === "sandbox" ? found.pod : found.container.pod);
  };
  const imageAt = (path: readonly number[]): string => {
    const image = reader.text([...path, IMAGE]);
    // What the user wrote stands beside an id that the kubelet found for it: runtimes do not look at it.
    if (!by.container || (listener !== undefined && image !== "")) return image;
    return reader.text([...path, USER_SPECIFIED]) || image;
  };
  return {
    pod() {
      pod ??= readPod();
      return pod;
    },
    container() {
      if (by.container) return reader.text(by.container);
      if (by.id?.kind !== "container") return undefined;
      if (found?.kind !== "container")
        throw unknown("container", found?.kind === "unknown" ? found.why : undefined);
      return found.container.name;
    },
    image() {
      if (by.image) return imageAt(by.image);
      if (by.id?.kind !== "container") return undefined;
      if (found?.kind !== "container")
        throw unknown("container", found?.kind === "unknown" ? found.why : undefined);
      return found.container.image;
    },
  };
}

/** The fields of `ImageSpec`: since Kubernetes 1.28 an image's id comes with what the user wrote. */
const IMAGE = 1;
const USER_SPECIFIED = 18;

/** Runtimes go by the id, and take of the configuration beside it what they want. */
function checkSamePod(configured: FactsOfPod, found: FoundById | undefined): void {
  if (found?.kind !== "sandbox") throw unknown("sandbox", found?.kind === "unknown" ? found.why : undefined);
  const { namespace, name, uid } = found.pod;
  if (configured.namespace === namespace && configured.name === name && configured.uid === uid) return;
  throw new PolicyFailure("the sandbox that it names is of another pod than its configuration says");
}

function unknown(kind: "sandbox" | "container", why: string | undefined): PolicyFailure {
  return new PolicyFailure(why ?? `the ${kind} that it names is not known`);
}

/** The id in a request that names its pod or container by one; undefined where it does not. */
export function idIn(
  method: string,
  message: Uint8Array,
): { readonly kind: "sandbox" | "container"; readonly id: string } | undefined {
  const by = namedBy(method);
  if (!by?.id) return undefined;
  return { kind: by.id.kind, id: new MessageReader(message).text([by.id.number]) };
}

/** Tells one life of a pod's sandbox from another, in RunPodSandbox and in every CreateContainer for it. */
export function sandboxKey(method: "RunPodSandbox" | "CreateContainer", message: Uint8Array): string {
  const own = new MessageReader(message).submessage([namedBy(method)?.config ?? 0, config.metadata]);
  if (!own) return "";
  const { namespace, name, uid, attempt } = readMessage("PodSandboxMetadata", own, { redact: false });
  return JSON.stringify([namespace, name, uid, attempt ?? 0]);
}
