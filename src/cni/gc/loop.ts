/** Sweeps from time to time: at start, then each interval, and soon after an ADD found most addresses leased. */
import type { Clock } from "../../host/clock.ts";
import type { Sweepers } from "./sweepers.ts";

/** Two looks that are further apart than the grace period settle what they both find. */
export const SWEEP_INTERVAL_MS = 90_000;
/** Between two looks, however crowded the pool is. */
const CROWDED_INTERVAL_MS = 15_000;

interface LoopOptions {
  readonly sweepers: Sweepers;
  readonly stateDir: string;
  readonly clock: Clock;
  readonly intervalMs?: number | undefined;
  /** Done after each look: repairs of what is not the business of one attachment. Must not reject. */
  readonly afterwards?: (() => Promise<void>) | undefined;
}

/** A loop that runs. */
export interface SweepLoop {
  /** Resolves when a look that is under way has ended. */
  stop(): Promise<void>;
}

/** Begins with a look at once. */
export function startSweepLoop(options: LoopOptions): SweepLoop {
  const { sweepers, stateDir, clock, intervalMs = SWEEP_INTERVAL_MS, afterwards } = options;
  const stopped = new AbortController();
  let wake = new AbortController();
  const isOurs = (directory: string) => directory === stateDir;
  sweepers.onCrowded = (directory) => {
    if (isOurs(directory)) wake.abort();
  };
  const pause = async (ms: number, signal: AbortSignal) => {
    if (!signal.aborted) await clock.sleep(ms, signal).catch(() => undefined);
  };
  const run = async () => {
    const sweeper = sweepers.forDirectory(stateDir);
    while (!stopped.signal.aborted) {
      await sweeper.sweep({ signal: stopped.signal });
      await afterwards?.();
      // What wakes us during this pause counts for the next one: crowded nodes are looked at often, not always.
      wake = new AbortController();
      const early = Math.min(CROWDED_INTERVAL_MS, intervalMs);
      await pause(early, stopped.signal);
      if (stopped.signal.aborted) return;
      if (wake.signal.aborted) continue;
      await pause(intervalMs - early, AbortSignal.any([stopped.signal, wake.signal]));
    }
  };
  const running = run();
  return {
    async stop() {
      sweepers.onCrowded = undefined;
      stopped.abort();
      await running;
    },
  };
}
