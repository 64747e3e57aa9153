/**
 * Copies that take longer than a call may. A copy belongs to nobody's call: the one that began it, and every retry,
 * waits for it a while and is then told how far it is (ABORTED), until one of them gets the result. A failure that
 * nobody was there to be told is kept for the next who asks.
 */
import { asTrivetError } from "../../errors.ts";
import type { Clock } from "../../host/clock.ts";
import type { Log } from "../../observe/log.ts";
import type { CopyOptions } from "../backend/backend.ts";
import { refusal } from "../refusal.ts";
import { createSlots, type Slots } from "./slots.ts";

/** Well below the 15 s that external-provisioner and external-snapshotter wait by default. */
export const DEFAULT_CALL_WAIT_MS = 8_000;
/** Copies of one pool that run at once; others wait their turn. */
const COPIES_PER_POOL = 2;
const LOG_EVERY_MS = 10_000;
/** Failures that are kept: the oldest goes first. */
const MAX_FAILURES = 256;

/** What is being made. */
export interface CopyWanted {
  /** The id that the result will have, or whatever stands for the request: one copy at a time. */
  readonly key: string;
  readonly kind: "snapshot" | "restore" | "clone";
  /** The id of the volume or snapshot that is copied. */
  readonly from: string;
}

/** For metrics. */
export interface CopySample {
  readonly kind: CopyWanted["kind"];
  /** `started`; `progress`, with the bytes since the last; or how it ended: `done`, `cancelled`, `failed`. */
  readonly event: "started" | "progress" | "done" | "cancelled" | "failed";
  readonly bytes: number;
}

/** What the work of a copy gets. */
export interface CopyTurn extends CopyOptions {
  /** Runs the copying itself: waits while as many of this pool run as may. */
  inTurn<T>(pool: string, copy: () => Promise<T>): Promise<T>;
  /** Throws `cancelled` when the copy is given up: asked before a step, never within one. */
  check(): void;
}

/** The copies of this process. */
export interface Copies {
  /**
   * The result of `work`, which is begun unless it is running; `busy` when it takes longer than a call may, `conflict`
   * where another source is being copied under this key.
   */
  run<T>(wanted: CopyWanted, work: (turn: CopyTurn) => Promise<T>): Promise<T>;
  /** Gives a copy up that is running under this key; resolves when nothing of it goes on. */
  cancel(key: string): Promise<void>;
  /** Gives all up, and begins none any more. What they have made is removed at the next start. */
  stop(): Promise<void>;
}

/** What running copies takes. */
export interface CopiesDeps {
  readonly clock: Clock;
  readonly log: Log;
  /** How long a call waits for its copy, in milliseconds. */
  readonly callWaitMs?: number;
  onCopy?(sample: CopySample): void;
}

interface Running {
  readonly wanted: CopyWanted;
  readonly end: AbortController;
  readonly result: Promise<unknown>;
  /** Of the caller that waits for the result, if one does. */
  waiting: number;
  copiedBytes: number;
  totalBytes: number;
  state: "waits for its turn" | "runs";
}

/** Nothing is running. */
export function createCopies(deps: CopiesDeps): Copies {
  const { clock, callWaitMs = DEFAULT_CALL_WAIT_MS } = deps;
  const running = new Map<string, Running>();
  const failures = new Map<string, unknown>();
  const turns = new Map<string, Slots>();
  let stopped = false;
  const turnsOf = (pool: string): Slots => {
    const slots = turns.get(pool) ?? createSlots(COPIES_PER_POOL);
    turns.set(pool, slots);
    return slots;
  };
  const keepFailure = (key: string, error: unknown) => {
    const [oldest] = failures.keys();
    if (failures.size >= MAX_FAILURES && oldest !== undefined) failures.delete(oldest);
    failures.set(key, error);
  };
  const begin = (wanted: CopyWanted, work: (turn: CopyTurn) => Promise<unknown>): Running => {
    const end = new AbortController();
    const copy: Running = {
      ...{ wanted, end, waiting: 0, copiedBytes: 0, totalBytes: 0, state: "waits for its turn" },
      result: Promise.resolve().then(() => work(turnOf(copy, turnsOf, deps))),
    };
    running.set(wanted.key, copy);
    void watch(copy, deps);
    const settle = (error?: unknown) => {
      running.delete(wanted.key);
      if (error !== undefined && copy.waiting === 0 && !end.signal.aborted) keepFailure(wanted.key, error);
      report(copy, deps, error);
      end.abort();
    };
    copy.result.then(() => settle(), settle);
    return copy;
  };
  return {
    async run<T>(wanted: CopyWanted, work: (turn: CopyTurn) => Promise<T>): Promise<T> {
      const present = running.get(wanted.key);
      if (present && present.wanted.from !== wanted.from) {
        const message = `a copy of ${present.wanted.from} is being made under this name, not of ${wanted.from}`;
        throw refusal("conflict", wanted.key, message);
      }
      if (!present && failures.has(wanted.key)) {
        const failure = failures.get(wanted.key);
        failures.delete(wanted.key);
        throw failure;
      }
      if (stopped) throw refusal("unavailable", wanted.key, "the driver is stopping: try again later");
      return (await waited(present ?? begin(wanted, work), clock, callWaitMs)) as T;
    },
    async cancel(key) {
      const copy = running.get(key);
      failures.delete(key);
      copy?.end.abort();
      await copy?.result.catch(() => undefined);
    },
    async stop() {
      stopped = true;
      const all = [...running.values()];
      for (const { end } of all) end.abort();
      await Promise.allSettled(all.map(({ result }) => result));
    },
  };
}

/** The result, if it comes in time. The copy goes on in any case. */
async function waited(copy: Running, clock: Clock, callWaitMs: number): Promise<unknown> {
  const bound = new AbortController();
  const late = clock.sleep(callWaitMs, bound.signal).then(
    () => true,
    () => true,
  );
  copy.waiting += 1;
  try {
    const over = copy.result.then(
      () => false,
      () => false,
    );
    if (!(await Promise.race([over, late]))) return await copy.result;
  } finally {
    copy.waiting -= 1;
    bound.abort();
  }
  const { wanted, state, copiedBytes, totalBytes } = copy;
  const how =
    state === "runs" ? `${copiedBytes} of about ${totalBytes} bytes are copied` : "it waits for its turn";
  throw refusal(
    "busy",
    wanted.key,
    `the ${wanted.kind} of ${wanted.from} is being made: ${how}; ask again for the result`,
  );
}

function turnOf(copy: Running, turnsOf: (pool: string) => Slots, deps: CopiesDeps): CopyTurn {
  const { wanted, end } = copy;
  let reported = 0;
  const check = () => {
    if (end.signal.aborted) throw refusal("cancelled", wanted.key, `the ${wanted.kind} was given up`);
  };
  return {
    ...{ signal: end.signal, check },
    onProgress({ copiedBytes, totalBytes }) {
      Object.assign(copy, { copiedBytes, totalBytes });
      deps.onCopy?.({ kind: wanted.kind, event: "progress", bytes: copiedBytes - reported });
      reported = copiedBytes;
    },
    inTurn: (pool, work) =>
      turnsOf(pool).run(end.signal, async () => {
        check();
        copy.state = "runs";
        deps.onCopy?.({ kind: wanted.kind, event: "started", bytes: 0 });
        return work();
      }),
  };
}

/** A line every ten seconds, for as long as it takes. */
async function watch(copy: Running, { clock, log }: CopiesDeps): Promise<void> {
  const { signal } = copy.end;
  while (!signal.aborted) {
    const woken = await clock.sleep(LOG_EVERY_MS, signal).then(
      () => true,
      () => false,
    );
    const { wanted, state, copiedBytes, totalBytes } = copy;
    if (woken) log.info("copying", { ...wanted, state, copiedBytes, totalBytes });
  }
}

function report(
  { wanted, end, state, copiedBytes }: Running,
  { log, onCopy }: CopiesDeps,
  error?: unknown,
): void {
  const event = error === undefined ? "done" : end.signal.aborted ? "cancelled" : "failed";
  if (state === "runs") onCopy?.({ kind: wanted.kind, event, bytes: 0 });
  if (error === undefined) return;
  const { message } = asTrivetError(error, "copy", wanted.key);
  log.warn("copy not made", { ...wanted, copiedBytes, outcome: event, error: message });
}
