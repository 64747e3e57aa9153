/**
 * The tap as a whole: gives every accepted connection one of its own to the runtime, with a state machine between the two, and
 * ends them together. What is asked about calls comes from the hooks; listening is the caller's.
 */
import type { Socket } from "node:net";
import type { Log } from "../../observe/log.ts";
import type { TapHooks } from "./hooks.ts";
import { defaultLimits, HeldBudget, type TapLimits } from "./limits.ts";
import { Link, type LinkOptions } from "./link.ts";
import { TapMachine } from "./tap-machine.ts";

/** What a tap needs; it reads no environment and opens no file. */
export interface ProxyOptions {
  /** The runtime's unix socket. */
  readonly upstreamPath: string;
  readonly hooks: TapHooks;
  readonly log: Log;
  readonly limits?: Partial<TapLimits>;
  /** How often a client that must wait for the runtime is looked at, in case it is gone. */
  readonly stallProbeMs?: number;
}

/** A look at the tap as it stands. */
export interface ProxyStats {
  readonly connections: number;
  /** Streams of all connections that are not over; 0 at rest. */
  readonly streams: number;
  readonly heldBytes: number;
}

/** A tap in front of one runtime. */
export interface Proxy {
  /** Give it every accepted socket; `listener` is the name of an extra listener, which the hooks get to know. */
  accept(client: Socket, options?: { readonly listener?: string | undefined }): void;
  /**
   * Tells clients to go elsewhere (GOAWAY in two steps), lets streams finish for up to `timeoutMs`, answers the rest with
   * UNAVAILABLE, then closes. Sockets accepted meanwhile are closed at once.
   */
  drain(options: { timeoutMs: number }): Promise<void>;
  /** Closes everything at once. */
  close(): void;
  stats(): ProxyStats;
}

const nowMs = (): number => performance.now();

/** A client that hangs on a runtime that hangs costs one read in this time. */
const STALL_PROBE_MS = 10_000;
/** For the last answers to leave, once the bound of a drain has passed. */
const FLUSH_MS = 500;

type Accepted = { readonly listener?: string | undefined };

/** Makes a tap without any connection; nothing is dialled before a client is accepted. */
export function createProxy({ upstreamPath, hooks, log, limits, stallProbeMs }: ProxyOptions): Proxy {
  const inForce: TapLimits = { ...defaultLimits, ...limits };
  const budget = new HeldBudget(inForce.maxHeldBytes);
  const links = new Set<Link>();
  let accepted = 0;
  let stopping = false;
  const onRuntime = logChanges(log, upstreamPath);
  const shared = { hooks, limits: inForce, budget, nowMs, onHookError: logHookErrors(log) };
  let onEmpty: () => void = () => undefined;

  function accept(client: Socket, { listener }: Accepted = {}): void {
    if (stopping) {
      client.destroy();
      return;
    }
    const connectionId = ++accepted;
    const machine = new TapMachine({
      connectionId,
      listener,
      ...shared,
      onDecided: () => link.onDecided(),
    });
    const link = new Link({
      client,
      machine,
      upstreamPath,
      connectionId,
      log,
      stallProbeMs: stallProbeMs ?? STALL_PROBE_MS,
      onRuntime,
      onClosed: () => {
        links.delete(link);
        if (links.size === 0) onEmpty();
      },
    });
    links.add(link);
  }

  /** Whether all connections closed within `ms`. */
  function emptyWithin(ms: number): Promise<boolean> {
    if (links.size === 0) return Promise.resolve(true);
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), ms);
      onEmpty = () => {
        clearTimeout(timer);
        resolve(true);
      };
    });
  }

  async function drain({ timeoutMs }: { timeoutMs: number }): Promise<void> {
    stopping = true;
    for (const link of links) link.drain();
    if (await emptyWithin(timeoutMs)) return;
    for (const link of links) link.abandon();
    await emptyWithin(FLUSH_MS);
    close();
  }

  function close(): void {
    stopping = true;
    for (const link of [...links]) link.destroy();
  }

  function stats(): ProxyStats {
    let streams = 0;
    for (const link of links) streams += link.machine.streams;
    return { connections: links.size, streams, heldBytes: budget.bytes };
  }

  return { accept, drain, close, stats };
}

/** A runtime that stays away is a line when it goes and one when it is back, not one for every client that tries. */
function logChanges(log: Log, socket: string): LinkOptions["onRuntime"] {
  let away = false;
  return (state, reason) => {
    const wasAway = away;
    away = state === "away";
    if (state === "lost" || (away && !wasAway)) log.warn("the runtime is not there", { reason });
    if (state === "there" && wasAway) log.info("the runtime answers again", { socket });
  };
}

/** What a hook throws is a bug: with its stack. */
function logHookErrors(log: Log): (error: unknown, hook: string) => void {
  return (error, hook) => log.error("a hook of the tap failed", { hook, error: describe(error) });
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
