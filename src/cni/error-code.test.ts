import { expect, test } from "vitest";
import { kinds } from "../errors.ts";
import { kindToCniCode } from "./error-code.ts";

test("every kind has a code; codes below 100 are the specification's", () => {
  const ofSpecification = [1, 2, 3, 4, 5, 6, 7, 11];
  for (const kind of kinds) {
    const code = kindToCniCode(kind, "CHECK");
    expect(code >= 100 || ofSpecification.includes(code), `${kind} is ${code}`).toBe(true);
  }
});

test("what may be retried as it is has the code for that", () => {
  for (const kind of ["busy", "exhausted", "unavailable", "cancelled", "deadline"] as const) {
    expect(kindToCniCode(kind, "ADD")).toBe(11);
  }
});

test.each([
  ["ADD", 101],
  ["DEL", 101],
  ["GC", 101],
  ["STATUS", 50],
  ["CHECK", 3],
])(
  "what %s did not find is code %i: only CHECK may say that nothing needs to be cleaned up",
  (command, code) => {
    expect(kindToCniCode("not-found", command)).toBe(code);
  },
);
