import { describe, expect, test } from "vitest";
import { isWithinRange, parseCapacityRange, sizeOfNew } from "./capacity.ts";

const range = (required_bytes: string, limit_bytes = "0") => ({ required_bytes, limit_bytes });

describe("parseCapacityRange and sizeOfNew", () => {
  test.each([
    [null, 2 ** 30],
    [range("0"), 2 ** 30],
    [range("1"), 1],
    [range("5000000001"), 5_000_000_001],
    [range("5", "5"), 5],
    [range("5", "9"), 5],
    [range("0", "9"), 9],
    [range("0", String(2 ** 40)), 2 ** 30],
  ])("%j becomes %d bytes", (wire, expected) => {
    expect(sizeOfNew(parseCapacityRange(wire), { minimumBytes: 1, granularityBytes: 1 })).toBe(expected);
  });

  test.each([
    [range("5"), 8],
    [range("8"), 8],
    [range("9", "12"), 12],
    [range("0", "11"), 8],
    [range("5", "7"), "range"],
    [range("0", "7"), "range"],
  ])("%j of volumes in steps of 4 bytes from 8 on becomes %s", (wire, expected) => {
    const size = () => sizeOfNew(parseCapacityRange(wire), { minimumBytes: 8, granularityBytes: 4 });
    if (typeof expected === "number") expect(size()).toBe(expected);
    else expect(size).toThrow(expect.objectContaining({ kind: expected }));
  });

  test.each([
    [range("2", "1"), "invalid"],
    [range("-1"), "invalid"],
    [range("0", "-9"), "invalid"],
    [range("many"), "invalid"],
    [range("1.5"), "invalid"],
    [range("9007199254740993"), "range"],
    [range("0", "9223372036854775807"), "range"],
  ])("%j is %s", (wire, kind) => {
    expect(() => parseCapacityRange(wire)).toThrow(expect.objectContaining({ kind }));
  });
});

test.each([
  [10, 0, 0, true],
  [10, 10, 10, true],
  [10, 11, 0, false],
  [10, 0, 9, false],
  [10, 5, 20, true],
])("a volume of %d bytes is within %d to %d: %s", (size, requiredBytes, limitBytes, expected) => {
  expect(isWithinRange(size, { requiredBytes, limitBytes })).toBe(expected);
});
