import { expect, test } from "vitest";
import { closingLine, count, createTally } from "./tally.ts";

test("only what passed is counted as passed, and only the word at the end ends a job", () => {
  const tally = createTally();
  const lines = [
    "ok a",
    "not ok b # why",
    "not run c # why",
    "not applicable d",
    "ok",
    "okay e",
    "@{}",
    "end",
  ];
  expect(lines.map((line) => count(tally, line))).toEqual([...Array(7).fill(false), true]);
  expect(closingLine(tally)).toBe("1 passed, 1 failed, 1 not run, 1 not applicable");
});

test("a run in which nothing was left out says nothing about that", () => {
  expect(closingLine({ passed: 2, failed: 0, notRun: 0, notApplicable: 0 })).toBe("2 passed, 0 failed");
});
