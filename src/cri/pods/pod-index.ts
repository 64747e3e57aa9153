/**
 * Who the ids in requests are: learned from the calls that pass, and asked of the runtime where somebody must know. It
 * forgets what is removed, and the least recently used beyond a bound; all of it can be rebuilt from the runtime's lists.
 */
import { TrivetError } from "../../errors.ts";
import { bytesField } from "../wire/encode.ts";
import { MessageReader } from "../wire/fields.ts";
import { BoundedMap } from "./bounded-map.ts";
import { type ContainerFacts, type PodFacts, weightOf } from "./facts.ts";
import {
  type ContainerEntry,
  fields,
  readContainerList,
  readCreateContainer,
  readListedPod,
  readMadeId,
  readPodList,
  readRemovedId,
  readRunPodSandbox,
} from "./read-facts.ts";

export type { ContainerFacts, PodFacts } from "./facts.ts";

/** Facts by the ids of sandboxes and containers. */
export interface PodIndex {
  /** What is known now. An id that is not known makes the next lists worth reading. */
  sandbox(id: string): PodFacts | undefined;
  container(id: string): ContainerFacts | undefined;
  /** Whether `learn` wants the response of this method, and its request. Cheap: asked at the headers of each call. */
  wants(method: string): { readonly request: boolean; readonly response: boolean };
  /**
   * Takes a request, as the runtime gets it, and returns what is to be called with the response when the call ended with OK.
   * Both without gRPC's prefix and uncompressed; of the request nothing is kept but facts. What cannot be read is ignored.
   */
  follow(method: string, request: Uint8Array | undefined): (response: Uint8Array | undefined) => void;
  /** The same for a call that is over. */
  learn(method: string, request: Uint8Array | undefined, response: Uint8Array | undefined): void;
  /**
   * What is known, or else what the runtime says: undefined where it does not know the id either. One question at a time for
   * an id. Rejects with `unavailable`, `deadline` or `exhausted` where the runtime cannot be asked.
   */
  lookup(kind: "sandbox", id: string): Promise<PodFacts | undefined>;
  lookup(kind: "container", id: string): Promise<ContainerFacts | undefined>;
  /** For metrics. */
  readonly size: number;
}

/** Asks the runtime: a method of its RuntimeService and the bytes of its request, for the bytes of the response. */
export type AskRuntime = (method: string, request: Uint8Array) => Promise<Uint8Array>;

export interface PodIndexOptions {
  /** Without it nothing is ever asked, and `lookup` knows what `sandbox` and `container` know. */
  readonly ask?: AskRuntime;
  /** Of sandboxes, and as many containers. */
  readonly maxEntries?: number;
}

const DEFAULT_MAX_ENTRIES = 5_000;
/** Of all labels and annotations: what a node with 250 pods has is a twentieth of it. */
const MAX_WEIGHT = 16 << 20;
/** Ids that are waited for in lists, and in how many lists each: one that is in none of them is gone. */
const MAX_UNKNOWN = 256;
const LISTS_PER_UNKNOWN = 3;
/**
 * Questions at once: a client that makes ids up must not make us a burden for the runtime. After a restart each probe of a full
 * node asks for its own container, though, and one that is refused here is a probe that fails.
 */
const MAX_QUESTIONS = 512;

const NOTHING = { request: false, response: false };
const BOTH = { request: true, response: true };
const RESPONSE = { request: false, response: true };

export function createPodIndex(options: PodIndexOptions = {}): PodIndex {
  return new LearnedIndex(options);
}

class LearnedIndex implements PodIndex {
  readonly #ask: AskRuntime | undefined;
  readonly #pods: BoundedMap<PodFacts>;
  readonly #containers: BoundedMap<ContainerEntry>;
  readonly #unknown = { sandbox: new Map<string, number>(), container: new Map<string, number>() };
  readonly #questions = new Map<string, Promise<unknown>>();

  constructor({ ask, maxEntries = DEFAULT_MAX_ENTRIES }: PodIndexOptions) {
    this.#ask = ask;
    this.#pods = new BoundedMap({ maxEntries, maxWeight: MAX_WEIGHT, weightOf });
    this.#containers = new BoundedMap({ maxEntries, maxWeight: MAX_WEIGHT, weightOf: weightOfContainer });
  }

  get size(): number {
    return this.#pods.size + this.#containers.size;
  }

  sandbox(id: string): PodFacts | undefined {
    const pod = this.#pods.get(id);
    if (!pod) this.#miss("sandbox", id);
    return pod;
  }

  container(id: string): ContainerFacts | undefined {
    const entry = this.#containers.get(id);
    if (!entry) {
      this.#miss("container", id);
      return undefined;
    }
    const pod = this.sandbox(entry.sandboxId);
    return pod && { containerId: entry.containerId, name: entry.name, image: entry.image, pod };
  }

  wants(method: string): { readonly request: boolean; readonly response: boolean } {
    switch (method) {
      case "RunPodSandbox":
      case "CreateContainer":
      case "RemovePodSandbox":
      case "RemoveContainer":
        return BOTH;
      case "PodSandboxStatus":
      case "ListPodSandbox":
        return this.#unknown.sandbox.size > 0 ? RESPONSE : NOTHING;
      case "ListContainers":
        return this.#unknown.container.size > 0 ? RESPONSE : NOTHING;
      default:
        return NOTHING;
    }
  }

  learn(method: string, request: Uint8Array | undefined, response: Uint8Array | undefined): void {
    this.follow(method, request)(response);
  }

  follow(method: string, request: Uint8Array | undefined): (response: Uint8Array | undefined) => void {
    const learned = tolerant(() => request && this.#readRequest(method, request));
    return (response) => {
      tolerant(() => (learned ? learned(response) : response && this.#readAnswer(method, response)));
    };
  }

  /** What is to be done when a call that makes or removes something has ended well. */
  #readRequest(
    method: string,
    request: Uint8Array,
  ): ((response: Uint8Array | undefined) => void) | undefined {
    switch (method) {
      case "RunPodSandbox": {
        const pod = readRunPodSandbox(request);
        return (response) => pod && response && this.#keepPod({ ...pod, sandboxId: readMadeId(response) });
      }
      case "CreateContainer": {
        const entry = readCreateContainer(request);
        return (response) => response && this.#keepContainer({ ...entry, containerId: readMadeId(response) });
      }
      case "RemovePodSandbox": {
        const id = readRemovedId(request);
        return () => this.#pods.delete(id);
      }
      case "RemoveContainer": {
        const id = readRemovedId(request);
        return () => this.#containers.delete(id);
      }
      default:
        return undefined;
    }
  }

  #readAnswer(method: string, response: Uint8Array): void {
    if (method === "PodSandboxStatus") this.#keepPod(readPodStatus(response));
    if (method === "ListPodSandbox") {
      for (const pod of readPodList(response)) this.#keepPod(pod);
      countDown(this.#unknown.sandbox);
    }
    if (method === "ListContainers") {
      for (const entry of readContainerList(response)) this.#keepContainer(entry);
      countDown(this.#unknown.container);
    }
  }

  #keepPod(pod: PodFacts | undefined): void {
    if (!pod || pod.sandboxId === "") return;
    this.#pods.set(pod.sandboxId, pod);
    this.#unknown.sandbox.delete(pod.sandboxId);
  }

  #keepContainer(entry: ContainerEntry): void {
    if (entry.containerId === "") return;
    this.#containers.set(entry.containerId, entry);
    this.#unknown.container.delete(entry.containerId);
  }

  #miss(kind: "sandbox" | "container", id: string): void {
    const unknown = this.#unknown[kind];
    if (id === "" || id.length > 256 || unknown.has(id) || unknown.size >= MAX_UNKNOWN) return;
    unknown.set(id, LISTS_PER_UNKNOWN);
  }

  lookup(kind: "sandbox", id: string): Promise<PodFacts | undefined>;
  lookup(kind: "container", id: string): Promise<ContainerFacts | undefined>;
  async lookup(kind: "sandbox" | "container", id: string): Promise<PodFacts | ContainerFacts | undefined> {
    const known = kind === "sandbox" ? this.sandbox(id) : this.container(id);
    const ask = this.#ask;
    if (known || !ask || id === "") return known;
    return this.#once<PodFacts | ContainerFacts | undefined>(`${kind} ${id}`, () =>
      kind === "sandbox" ? this.#askSandbox(ask, id) : this.#askContainer(ask, id),
    );
  }

  /** Whoever asks while the same question is open gets its answer. */
  #once<T>(question: string, ask: () => Promise<T>): Promise<T> {
    const open = this.#questions.get(question) as Promise<T> | undefined;
    if (open) return open;
    if (this.#questions.size >= MAX_QUESTIONS) return Promise.reject(tooManyQuestions());
    const answer = ask().finally(() => this.#questions.delete(question));
    this.#questions.set(question, answer);
    return answer;
  }

  /** The lists take a filter, and unlike the status methods they answer for an id that is gone with an empty list. */
  async #askSandbox(ask: AskRuntime, id: string): Promise<PodFacts | undefined> {
    const pods = readPodList(await ask("ListPodSandbox", filterById(id)));
    for (const pod of pods) this.#keepPod(pod);
    this.#unknown.sandbox.delete(id);
    return pick(pods, ({ sandboxId }) => sandboxId, id);
  }

  async #askContainer(ask: AskRuntime, id: string): Promise<ContainerFacts | undefined> {
    const entries = readContainerList(await ask("ListContainers", filterById(id)));
    for (const entry of entries) this.#keepContainer(entry);
    this.#unknown.container.delete(id);
    const entry = pick(entries, ({ containerId }) => containerId, id);
    const pod = entry && (await this.lookup("sandbox", entry.sandboxId));
    return pod && { containerId: entry.containerId, name: entry.name, image: entry.image, pod };
  }
}

/** Runtimes take the beginning of an id where it is that of one object alone: the answer then names another, longer id. */
function pick<T>(found: readonly T[], idOf: (item: T) => string, id: string): T | undefined {
  const exact = found.find((item) => idOf(item) === id);
  if (exact) return exact;
  const [only, ...others] = found.filter((item) => idOf(item).startsWith(id));
  return others.length === 0 ? only : undefined;
}

/** The runtime or a client wrote what we cannot read: we know nothing then, as before. */
function tolerant<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function countDown(unknown: Map<string, number>): void {
  for (const [id, lists] of [...unknown]) {
    if (lists > 1) unknown.set(id, lists - 1);
    else unknown.delete(id);
  }
}

function readPodStatus(response: Uint8Array): PodFacts | undefined {
  const status = new MessageReader(response).submessage([fields.PodSandboxStatusResponse.status]);
  return status && readListedPod(status, fields.PodSandboxStatus);
}

/** `filter.id` has these numbers in both list requests. */
function filterById(id: string): Uint8Array {
  return bytesField(1, bytesField(1, id));
}

function weightOfContainer({ containerId, sandboxId, name, image }: ContainerEntry): number {
  return containerId.length + sandboxId.length + name.length + image.length;
}

function tooManyQuestions(): TrivetError {
  return new TrivetError({
    kind: "exhausted",
    op: "pods.lookup",
    subject: "the runtime",
    message: `${MAX_QUESTIONS} ids are being looked up already: try again`,
  });
}
