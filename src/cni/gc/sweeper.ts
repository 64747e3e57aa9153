/**
 * Our own garbage collection, for runtimes that never ask for it. What is found is acted on only when it is found a second time,
 * unchanged, after a grace period. One look at a time; what is remembered between looks is the findings alone.
 */
import { asTrivetError } from "../../errors.ts";
import type { Log } from "../../observe/log.ts";
import type { CniDeps } from "../deps.ts";
import { listNetworks } from "../state/list-attachments.ts";
import { actionOf, type Finding, identityOf } from "./finding.ts";
import type { LiveSandboxes } from "./live-sandboxes.ts";
import { observeNetwork } from "./observe.ts";
import { settle } from "./settle.ts";

/** A DEL that is under way, or a runtime that is just starting, gets this long. */
export const GRACE_MS = 60_000;

/** What a sweep works with. */
export interface SweeperOptions {
  readonly deps: CniDeps;
  readonly stateDir: string;
  readonly log: Log;
  readonly sandboxes?: LiveSandboxes | undefined;
  readonly graceMs?: number;
  /** Runs the work on one attachment apart from its calls in this process. */
  readonly inTurn?: ((finding: Finding, work: () => Promise<boolean>) => Promise<boolean>) | undefined;
}

/** What one look led to. */
export interface SweepOutcome {
  /** Done something about. */
  readonly settled: readonly Finding[];
  /** Seen for the first time, or not for long enough. */
  readonly waiting: readonly Finding[];
  /** Could not be looked at or acted on. */
  readonly failed: number;
}

/** One per state directory. */
export interface Sweeper {
  /** One look at all networks, or at one, acting on what has been there for the grace period. Never rejects. */
  sweep(options?: SweepOptions): Promise<SweepOutcome>;
}

interface SweepOptions {
  readonly network?: string;
  readonly signal?: AbortSignal;
  /** In place of the ordinary grace, for a second look on demand. */
  readonly graceMs?: number;
  /** Only what is known to have been made longer ago than this. */
  readonly minAgeMs?: number;
}

/** Has no effect by itself. */
export function createSweeper(options: SweeperOptions): Sweeper {
  const { deps, stateDir, log, sandboxes } = options;
  let firstSeen = new Map<string, number>();
  let last: Promise<unknown> = Promise.resolve();

  const look = async (network: string | undefined, signal: AbortSignal | undefined) => {
    const found: Finding[] = [];
    let failed = 0;
    for (const name of network ? [network] : await listNetworks(deps, stateDir)) {
      try {
        found.push(...(await observeNetwork(deps, name, { stateDir, sandboxes, signal })));
      } catch (error) {
        failed += 1;
        log.warn("the state of a network cannot be looked at", failureFields(error, { network: name }));
      }
    }
    return { found, failed };
  };

  const act = async (finding: Finding): Promise<boolean> => {
    const work = () => settle(deps, { stateDir, finding });
    const done = await (options.inTurn ? options.inTurn(finding, work) : work());
    if (done) log.warn("swept", describe(finding));
    return done;
  };

  const sweepOnce = async (sweep: SweepOptions): Promise<SweepOutcome> => {
    const { found, failed: unseen } = await look(sweep.network, sweep.signal);
    const nowMs = deps.clock.nowMs();
    const graceMs = sweep.graceMs ?? options.graceMs ?? GRACE_MS;
    // Those of other networks stay remembered: this look was not about them.
    const others = [...firstSeen].filter(([id]) => sweep.network && !id.startsWith(`${sweep.network}\0`));
    const seen = new Map(others);
    const settled: Finding[] = [];
    const waiting: Finding[] = [];
    let failed = unseen;
    for (const finding of found) {
      const id = identityOf(finding);
      const sinceMs = firstSeen.get(id);
      const old = isOlder(finding, nowMs, sweep.minAgeMs);
      try {
        sweep.signal?.throwIfAborted();
        if (sinceMs !== undefined && nowMs - sinceMs >= graceMs && old && (await act(finding))) {
          settled.push(finding);
          continue;
        }
      } catch (error) {
        failed += 1;
        log.warn("sweeping failed", failureFields(error, describe(finding)));
      }
      seen.set(id, sinceMs ?? nowMs);
      waiting.push(finding);
    }
    firstSeen = seen;
    const kinds = settled.map(({ kind }) => kind);
    deps.observer?.swept?.({ settled: kinds, waiting: waiting.length, failed });
    return { settled, waiting, failed };
  };

  return {
    sweep(sweep = {}) {
      const turn = last.then(() => sweepOnce(sweep));
      last = turn.catch(() => undefined);
      return turn.catch((error: unknown) => {
        log.warn("the state cannot be looked at", failureFields(error, { stateDir }));
        return { settled: [], waiting: [], failed: 1 };
      });
    },
  };
}

/** What has no age, such as a file on its way to a name, may be in use by another process right now. */
function isOlder({ createdAtMs }: Finding, nowMs: number, minAgeMs: number | undefined): boolean {
  return minAgeMs === undefined || (createdAtMs !== undefined && nowMs - createdAtMs >= minAgeMs);
}

function describe(finding: Finding) {
  const { network, kind, subject, pod, reason } = finding;
  return { network, what: kind, subject: subject.slice(0, 200), pod, reason, action: actionOf(finding) };
}

function failureFields<T extends object>(error: unknown, fields: T): T & { readonly error: string } {
  const { message } = asTrivetError(error, "sweep", "");
  return { ...fields, error: message };
}
