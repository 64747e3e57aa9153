import { expect, test } from "vitest";
import { createClock } from "./clock.ts";

test("a sleep lasts as long as it is to", async () => {
  const clock = createClock();
  const started = clock.monotonicNs();
  await clock.sleep(20);
  // A timer of Node may fire up to a millisecond early.
  expect(Number(clock.monotonicNs() - started)).toBeGreaterThanOrEqual(19e6);
});

test("a sleep ends with the reason of its signal, at once if that has fired already", async () => {
  const clock = createClock();
  const stop = new AbortController();
  const sleeping = clock.sleep(60_000, stop.signal);
  stop.abort(new Error("enough"));
  await expect(sleeping).rejects.toThrow("enough");
  await expect(clock.sleep(60_000, stop.signal)).rejects.toThrow("enough");
});

test("the wall clock is the system's", () => {
  expect(Math.abs(createClock().nowMs() - Date.now())).toBeLessThan(1_000);
});
