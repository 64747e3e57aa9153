import { expect, test } from "vitest";
import { createClock } from "./clock.ts";

// What else a clock promises is in test/contract/clock.ts.
test("the wall clock is the system's", () => {
  const before = Date.now();
  const now = createClock().nowMs();
  expect(now).toBeGreaterThanOrEqual(before);
  expect(now).toBeLessThanOrEqual(Date.now());
});
