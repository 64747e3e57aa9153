import { describe, expect, it } from "vitest";
import { type HandOverEffects, handOver, type SuccessorReport } from "./hand-over.ts";

const report: SuccessorReport = { pid: 7, version: "2", kept: ["cri"] };
const steps = ["start", "prepared", "yieldAddresses", "takeOver"] as const;
type Step = (typeof steps)[number];

/** Effects that note what is done and fail at one step; `serving` is who accepts. */
function world(failing?: Step) {
  const done: string[] = [];
  const act = async (step: Step) => {
    done.push(step);
    if (step === failing) throw new Error(`${step} failed`);
  };
  const effects: HandOverEffects = {
    announce: async () => void done.push("announce"),
    async start() {
      await act("start");
      return {
        async prepared() {
          await act("prepared");
          return report;
        },
        takeOver: () => act("takeOver"),
        kill: async () => void done.push("kill"),
      };
    },
    yieldAddresses: () => act("yieldAddresses"),
    resume: async (reason) => void done.push(`resume: ${reason}`),
    leave: ({ pid }) => void done.push(`leave to ${pid}`),
  };
  return { effects, done };
}

describe("a hand-over", () => {
  it("stops accepting only when the successor serves", async () => {
    const { effects, done } = world();
    expect(await handOver(effects)).toEqual({ outcome: "handed-over", successor: report });
    expect(done).toEqual(["announce", ...steps, "leave to 7"]);
  });

  it.each(steps)("that fails at %s ends the successor first, and goes on serving", async (failing) => {
    const { effects, done } = world(failing);
    expect(await handOver(effects)).toEqual({ outcome: "kept", reason: `${failing} failed` });
    const before = steps.slice(0, steps.indexOf(failing) + 1);
    const killed = failing === "start" ? [] : ["kill"];
    expect(done).toEqual(["announce", ...before, ...killed, `resume: ${failing} failed`]);
  });
});
