/** Flow control: whole connections between simulated peers, with every call edited, denied or decided late at random. */
import { simulate } from "../../src/cri/tap/testing/simulate.ts";
import { checkSimulation } from "../../src/cri/tap/testing/simulation-check.ts";
import { check, type FuzzTarget } from "./target.ts";

const SIZE = { calls: 30, maxBytes: 5_000, maxSteps: 60_000 };

export const flowTarget: FuzzTarget = {
  name: "flow",
  share: 0.05,
  takesAll: true,
  async attempt(random) {
    const { wrong } = checkSimulation(await simulate(random.below(2 ** 32), SIZE));
    check(wrong.length === 0, wrong.join("; "));
    return "accepted" as const;
  },
};
