/**
 * Keeps the facts of all Nodes as the API server has them: list in pages, then watch, and again from where it stopped. While
 * the server is away what was known stays known. Never rejects: a lost server is a line in the log and a pause.
 */
import { asTrivetError, isKind, TrivetError } from "../errors.ts";
import type { Clock } from "../host/clock.ts";
import type { Log } from "../observe/log.ts";
import type { ApiClient } from "./api-client.ts";
import { type NodeEvent, type NodeFacts, readNodeEvents, readNodeList } from "./nodes.ts";

/** By name. */
export type Nodes = ReadonlyMap<string, NodeFacts>;

/** What happens between us and the API server, for metrics. */
export interface NodeWatchObserver {
  /** A watch began: the first, after its usual end, after an error, or with a new list before it. */
  restarted(reason: "start" | "ended" | "error" | "expired"): void;
  /** Something came from the server: what we know is as new as this moment. */
  heard(): void;
}

interface NodeWatchOptions {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly log: Log;
  /** From 0 to 1, for spreading retries of many nodes. */
  readonly random: () => number;
  /** Called with everything after the first list, and after each change of what is kept. Must not throw. */
  readonly onNodes: (nodes: Nodes) => void;
  readonly observer?: NodeWatchObserver | undefined;
}

/** A running watch. */
export interface NodeWatch {
  stop(): Promise<void>;
}

/** Nodes are some 20 KB each; a page is answered from the server's cache or from one read of etcd. */
const PAGE_SIZE = 500;
const LIST_IDLE_MS = 30_000;
/** The server sends a bookmark each minute, so a silence of two means that nobody is there. */
const WATCH_IDLE_MS = 120_000;
/** Each watch gets its own length, so that those of many nodes do not end together. */
const WATCH_SECONDS = 300;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;
const GONE = 410;

/** Starts at once; the first list comes when the server answers. */
export function watchNodes(options: NodeWatchOptions): NodeWatch {
  const stopping = new AbortController();
  const running = new Watcher(options, stopping.signal).run();
  return {
    async stop() {
      stopping.abort(
        new TrivetError({ kind: "cancelled", op: "kube.watch", subject: "nodes", message: "stopping" }),
      );
      await running;
    },
  };
}

class Watcher {
  readonly #options: NodeWatchOptions;
  readonly #signal: AbortSignal;
  #nodes = new Map<string, NodeFacts>();
  /** Where the next watch begins; undefined: with a list. */
  #resourceVersion: string | undefined;
  #failures = 0;

  constructor(options: NodeWatchOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
  }

  async run(): Promise<void> {
    let reason: "start" | "ended" | "error" | "expired" = "start";
    while (!this.#signal.aborted) {
      this.#options.observer?.restarted(reason);
      try {
        reason = (await this.#listAndWatch()) ? "ended" : "expired";
      } catch (error) {
        if (this.#signal.aborted) return;
        this.#tell(asTrivetError(error, "kube.watch", "nodes"));
        reason = "error";
      }
      await this.#pause(reason).catch(() => undefined);
    }
  }

  /** False if the server does not know our version any more. */
  async #listAndWatch(): Promise<boolean> {
    if (this.#resourceVersion === undefined) await this.#list();
    const { clock } = this.#options;
    const before = clock.monotonicNs();
    const heard = await this.#watch();
    // A server that ends each watch at once would otherwise be asked without a pause.
    const lasted = clock.monotonicNs() - before > BigInt(FIRST_PAUSE_MS) * 1_000_000n;
    if (heard || lasted) this.#recovered();
    else this.#failures += 1;
    return this.#resourceVersion !== undefined;
  }

  async #list(): Promise<void> {
    const found = new Map<string, NodeFacts>();
    let token = "";
    let resourceVersion = "";
    do {
      const reader = readNodeList((node) => found.set(node.name, node));
      const query = new URLSearchParams({ limit: String(PAGE_SIZE), ...(token && { continue: token }) });
      await this.#get({ query, idleMs: LIST_IDLE_MS, onData: (bytes) => reader.feed(bytes) });
      const page = reader.finish();
      token = page.continueToken;
      resourceVersion = page.resourceVersion;
    } while (token !== "");
    // Only now: after half a list there is nothing to watch from.
    this.#resourceVersion = resourceVersion;
    this.#nodes = found;
    this.#recovered();
    this.#options.log.info("the API server told all nodes", { nodes: found.size });
    this.#options.observer?.heard();
    this.#options.onNodes(this.#nodes);
  }

  /** Until the watch ends; whether anything came. */
  async #watch(): Promise<boolean> {
    const resourceVersion = this.#resourceVersion ?? "";
    const timeoutSeconds = String(Math.round(WATCH_SECONDS * (1 + this.#options.random())));
    let heard = false;
    let refused: NodeEvent | undefined;
    const reader = readNodeEvents((event) => {
      heard = true;
      this.#options.observer?.heard();
      if (event.type === "ERROR") refused = event;
      else this.#take(event);
    });
    const query = new URLSearchParams({
      watch: "true",
      allowWatchBookmarks: "true",
      resourceVersion,
      timeoutSeconds,
    });
    try {
      await this.#get({ query, idleMs: WATCH_IDLE_MS, onData: (bytes) => reader.feed(bytes) });
      reader.finish();
    } catch (error) {
      // What came before the connection broke was whole, and counts.
      if (heard) this.#failures = 0;
      throw error;
    }
    if (refused?.code === GONE) this.#expire();
    else if (refused) throw answered(refused.code, refused.message);
    return heard && !refused;
  }

  #take({ type, node, resourceVersion }: NodeEvent): void {
    if (resourceVersion !== "") this.#resourceVersion = resourceVersion;
    if (type === "BOOKMARK" || node.name === "") return;
    const known = this.#nodes.get(node.name);
    if (type === "DELETED") {
      if (!this.#nodes.delete(node.name)) return;
    } else {
      if (known && isSame(known, node)) return;
      this.#nodes.set(node.name, node);
    }
    this.#options.onNodes(this.#nodes);
  }

  #expire(): void {
    this.#resourceVersion = undefined;
  }

  async #get({ query, ...rest }: GetPart): Promise<void> {
    const { client } = this.#options;
    const path = `/api/v1/nodes?${query}`;
    const { status, message } = await client.get({ path, signal: this.#signal, ...rest });
    if (status === GONE) this.#expire();
    if (status !== 200) throw answered(status, message);
  }

  #recovered(): void {
    if (this.#failures > 1) this.#options.log.info("the API server answers again");
    this.#failures = 0;
  }

  #tell(error: TrivetError): void {
    this.#failures += 1;
    // A stream that breaks is ordinary; a server that stays away is told once, and then as it gets rarer.
    const isPowerOfTwo = (this.#failures & (this.#failures - 1)) === 0;
    const log = this.#failures === 1 || !isPowerOfTwo ? "debug" : "warn";
    const stack = isKind(error, "bug") && error.cause instanceof Error ? error.cause.stack : undefined;
    this.#options.log[stack ? "error" : log]("the watch of nodes failed: what is known stays in force", {
      error: error.message,
      failures: this.#failures,
      stack,
    });
  }

  /** None after the usual end; otherwise longer each time, with half of it by chance. */
  async #pause(reason: "ended" | "error" | "expired" | "start"): Promise<void> {
    const { clock, random } = this.#options;
    if (reason === "ended" && this.#failures === 0) return;
    const exponent = Math.min(this.#failures, 10) - 1;
    const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.max(0, exponent));
    await clock.sleep(longest * (0.5 + random() / 2), this.#signal);
  }
}

interface GetPart {
  readonly query: URLSearchParams;
  readonly idleMs: number;
  readonly onData: (bytes: Buffer) => void;
}

function answered(status: number, message: string): TrivetError {
  const remedy = status === 403 ? ": the service account needs get, list and watch of nodes" : "";
  return new TrivetError({
    kind: "unavailable",
    op: "kube.watch",
    subject: "nodes",
    message: `the API server answered ${status} ${message}${remedy}`,
  });
}

const isEqual = (left: readonly string[], right: readonly string[]): boolean =>
  left.length === right.length && left.every((text, index) => text === right[index]);

function isSame(left: NodeFacts, right: NodeFacts): boolean {
  return isEqual(left.podCidrs, right.podCidrs) && isEqual(left.internalIps, right.internalIps);
}
