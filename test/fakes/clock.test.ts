import { describe, expect, test } from "vitest";
import { createFakeClock } from "./clock.ts";

describe("the fake clock", () => {
  test("moves only when it is told to", () => {
    const clock = createFakeClock(1_000);
    clock.advance(1.5);
    expect([clock.nowMs(), clock.monotonicNs()]).toEqual([1_001.5, 1_500_000n]);
  });

  test("ends each sleep when it is due, the earliest first", async () => {
    const clock = createFakeClock();
    const ended: string[] = [];
    const late = clock.sleep(20).then(() => ended.push("late"));
    const early = clock.sleep(10).then(() => ended.push("early"));
    clock.advance(9);
    await Promise.resolve();
    expect(ended).toEqual([]);
    clock.advance(11);
    await Promise.all([late, early]);
    expect(ended).toEqual(["early", "late"]);
  });

  test("ends a sleep with the reason of its signal", async () => {
    const clock = createFakeClock();
    const stop = new AbortController();
    const sleeping = clock.sleep(10, stop.signal);
    stop.abort(new Error("enough"));
    await expect(sleeping).rejects.toThrow("enough");
    await expect(clock.sleep(10, stop.signal)).rejects.toThrow("enough");
  });
});
