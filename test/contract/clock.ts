/** What `Clock` promises, as cases for the fake and for the real one. */
import { expect } from "vitest";
import type { Clock } from "../../src/host/clock.ts";

export interface ClockUnderTest {
  readonly clock: Clock;
  /** Lets at least so much of this clock's time pass. */
  pass(ms: number): Promise<void>;
}

export interface ClockCase {
  readonly title: string;
  run(subject: ClockUnderTest): Promise<void>;
}

export const clockContract: readonly ClockCase[] = [
  {
    title: "both times go on by what passed, the monotonic one in nanoseconds",
    async run({ clock, pass }) {
      const wall = clock.nowMs();
      const monotonic = clock.monotonicNs();
      await pass(20);
      expect(clock.nowMs() - wall).toBeGreaterThanOrEqual(19); // a millisecond of rounding
      expect(clock.monotonicNs() - monotonic).toBeGreaterThanOrEqual(19_000_000n);
    },
  },
  {
    title: "a sleep ends when its time has passed, and shorter ones before longer ones",
    async run({ clock, pass }) {
      const order: string[] = [];
      const long = clock.sleep(30).then(() => order.push("long"));
      const short = clock.sleep(10).then(() => order.push("short"));
      await pass(40);
      await Promise.all([long, short]);
      expect(order).toEqual(["short", "long"]);
    },
  },
  {
    title:
      "a sleep that is given up rejects with the signal's reason, also one that had been given up before",
    async run({ clock }) {
      const stop = new AbortController();
      const reason = new Error("enough");
      const sleeping = clock.sleep(60_000, stop.signal);
      stop.abort(reason);
      await expect(sleeping).rejects.toBe(reason);
      await expect(clock.sleep(60_000, stop.signal)).rejects.toBe(reason);
    },
  },
];
