import { describe, expect, it } from "vitest";
import { runTarget } from "./run-target.ts";
import type { FuzzTarget } from "./target.ts";
import { targets } from "./targets.ts";

/** A fixed seed: the same inputs on each run. `make fuzz` tries others, and many more. */
const SEED = 20_261_121;
const INPUTS_PER_SHARE = 150;

describe("anything at all", () => {
  it.each(targets.map((target) => [target.name, target] as const))("is borne by %s", async (_, target) => {
    const inputs = INPUTS_PER_SHARE * target.share;
    const { findings, accepted, refused } = await runTarget({ target, inputs, seed: SEED });
    expect(findings).toEqual([]);
    // Neither nearly all nearly none are refused: the inputs come near enough to what is right to get anywhere.
    if (target.takesAll) expect(accepted).toBe(Math.ceil(inputs));
    else expect(Math.min(accepted, refused)).toBeGreaterThan(inputs / 20);
  });
});

describe("the runner", () => {
  const failsAbove: FuzzTarget = {
    name: "sometimes",
    share: 1,
    attempt(random) {
      if (random.below(100) > 90) throw new Error("found");
      return random.chance(2) ? "accepted" : "refused";
    },
  };

  it("tells each finding by an input that makes it again", async () => {
    const { findings } = await runTarget({ target: failsAbove, inputs: 100, seed: 7 });
    expect(findings.length).toBeGreaterThan(0);
    for (const { input } of findings) {
      const again = await runTarget({ target: failsAbove, inputs: 1, seed: 7, from: input });
      expect(again.findings.map((finding) => finding.input)).toEqual([input]);
    }
  });

  it("gives up after ten, and counts what it did", async () => {
    const { inputs, findings, accepted, refused } = await runTarget({
      target: failsAbove,
      inputs: 9_999,
      seed: 7,
    });
    expect(findings).toHaveLength(10);
    expect(accepted + refused + findings.length).toBe(inputs);
  });
});
