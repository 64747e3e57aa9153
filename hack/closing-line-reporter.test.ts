import { describe, expect, it } from "vitest";
import { type CountedModule, countTests } from "./closing-line-reporter.ts";

function module(states: readonly string[], ok = !states.includes("failed")): CountedModule {
  const tests = states.map((state, index) => ({ fullName: `test ${index}`, result: () => ({ state }) }));
  return { ok: () => ok, children: { allTests: () => tests } };
}

describe("counting a test run", () => {
  it.each([
    ["passed and failed tests", [module(["passed", "failed"]), module(["passed"])], 0, false, [2, 1, 0]],
    ["a file that could not be loaded as a failure", [module([], false)], 0, false, [0, 1, 0]],
    [
      "a file whose hooks failed behind passing tests as a failure",
      [module(["passed"], false)],
      0,
      false,
      [1, 1, 0],
    ],
    ["errors outside of tests as failures", [module(["passed"])], 2, false, [1, 2, 0]],
    ["skipped tests", [module(["passed", "skipped"])], 0, false, [1, 0, 1]],
    ["skipped tests as failures where that is wanted", [module(["passed", "skipped"])], 0, true, [1, 1, 0]],
  ])("counts %s", (_, modules, errors, forbidSkips, [passed, failed, skipped]) => {
    const unhandled = Array.from({ length: errors }, () => new Error());
    expect(countTests(modules, unhandled, forbidSkips)).toMatchObject({ passed, failed, skipped });
  });
});
