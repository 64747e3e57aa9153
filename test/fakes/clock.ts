/** A clock that stands still until a test moves it. */
import type { Clock } from "../../src/host/clock.ts";

export interface FakeClock extends Clock {
  /** Moves both times on and ends every sleep that is due by then. */
  advance(ms: number): void;
}

interface Sleeper {
  readonly dueMs: number;
  wake(): void;
}

/** Begins at 2026-01-01T00:00:00Z; the monotonic time begins at 0. */
export function createFakeClock(startMs = Date.UTC(2026, 0, 1)): FakeClock {
  let elapsedMs = 0;
  const sleepers = new Set<Sleeper>();
  return {
    nowMs: () => startMs + elapsedMs,
    monotonicNs: () => BigInt(Math.round(elapsedMs * 1e6)),
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        signal?.throwIfAborted();
        const stop = () => {
          sleepers.delete(sleeper);
          reject(signal?.reason);
        };
        const sleeper: Sleeper = {
          dueMs: elapsedMs + ms,
          wake() {
            sleepers.delete(sleeper);
            signal?.removeEventListener("abort", stop);
            resolve();
          },
        };
        sleepers.add(sleeper);
        signal?.addEventListener("abort", stop, { once: true });
      }),
    advance(ms) {
      elapsedMs += ms;
      const due = [...sleepers].filter(({ dueMs }) => dueMs <= elapsedMs).sort((a, b) => a.dueMs - b.dueMs);
      for (const { wake } of due) wake();
    },
  };
}
