/** One timer for many times: it wakes at the earliest of them. */
import type { Clock } from "../host/clock.ts";

/** Timers beyond this are set again: Node's reach 24 days. */
const MAX_TIMER_MS = 86_400_000;

/** Asleep until the earliest time that it was told. */
export interface Alarm {
  /** Wakes no later than at this time. Times that are never to come are not finite. */
  at(timeMs: number): void;
  stop(): void;
}

/** Calls `ring` once per waking; whoever wants to be woken again says so. */
export function createAlarm(clock: Clock, ring: () => void): Alarm {
  let earliestMs = Number.POSITIVE_INFINITY;
  let sleeping: AbortController | undefined;
  let stopped = false;
  const sleep = async (own: AbortController) => {
    await Promise.resolve(); // never rings within `at`
    while (!own.signal.aborted && clock.nowMs() < earliestMs) {
      await clock
        .sleep(Math.min(earliestMs - clock.nowMs(), MAX_TIMER_MS), own.signal)
        .catch(() => undefined);
    }
    if (own.signal.aborted) return;
    earliestMs = Number.POSITIVE_INFINITY;
    ring();
  };
  return {
    at(timeMs) {
      if (stopped || timeMs >= earliestMs) return;
      earliestMs = timeMs;
      sleeping?.abort();
      sleeping = new AbortController();
      void sleep(sleeping);
    },
    stop() {
      stopped = true;
      sleeping?.abort();
    },
  };
}
