/**
 * Lets calls go first. What a removal frees, a disk may discard block by block, and let every sync wait meanwhile:
 * volumes come and go in crowds, and nobody waits for the removal.
 */
import type { Clock } from "../../host/clock.ts";

/** For how long calls may keep the work waiting: what was deleted is to be free again within a moment. */
const MAX_WAIT_MS = 1_000;

/** What says when work that nobody waits for may go on. */
export interface Quiet {
  /** A call is about to wait for the disk. */
  called(): void;
  /** Resolves when no call has come for the time that was set, after a second at the latest, or when aborted. */
  wait(signal: AbortSignal): Promise<void>;
}

/** `quietMs` of 0: nothing ever waits. */
export function createQuiet(clock: Clock, quietMs: number): Quiet {
  // Not the wall clock: somebody may set that back.
  const now = () => Number(clock.monotonicNs() / 1_000n) / 1_000;
  let lastCallMs = Number.NEGATIVE_INFINITY;
  return {
    called() {
      lastCallMs = now();
    },
    async wait(signal) {
      const latestMs = now() + MAX_WAIT_MS;
      while (!signal.aborted) {
        const waitMs = Math.min(lastCallMs + quietMs, latestMs) - now();
        if (waitMs <= 0) return;
        await clock.sleep(waitMs, signal).catch(() => undefined);
      }
    },
  };
}
