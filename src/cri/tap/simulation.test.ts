import { describe, expect, it } from "vitest";
import { simulate } from "./testing/simulate.ts";
import { checkSimulation } from "./testing/simulation-check.ts";

/** Connections simulated per run; `make fuzz ONLY=flow` is the longer hunt. */
const RUNS = 20;
const SIZE = { calls: 50, maxBytes: 6_000, maxSteps: 60_000 };

describe("random peers, windows, paddings, resets, decisions and interleavings", () => {
  it("never stall, never break a window, and every message arrives as it was decided", async () => {
    const all = new Map<string, number>();
    for (let seed = 0; seed < RUNS; seed++) {
      const { wrong, ways } = checkSimulation(await simulate(seed, SIZE));
      expect([seed, ...wrong]).toEqual([seed]);
      for (const [way, count] of ways) all.set(way, (all.get(way) ?? 0) + count);
    }
    // The mix is what it should be: each of these happened often.
    expect([...all.keys()].toSorted()).toEqual(["answered", "cancelled", "denied", "early", "late"]);
    for (const count of all.values()) expect(count).toBeGreaterThan(RUNS);
  });
});
