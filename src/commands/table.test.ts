import { describe, expect, it } from "vitest";
import { formatAge, formatTable } from "./table.ts";

describe("a table", () => {
  it("has columns as wide as their widest cell, and no spaces at the ends of lines", () => {
    const rows = [
      ["10.42.7.2", "web", ""],
      ["10.42.7.130", "a", "x"],
    ];
    expect(formatTable(["ADDRESS", "POD", "NOTE"], rows)).toBe(
      "ADDRESS      POD  NOTE\n10.42.7.2    web\n10.42.7.130  a    x\n",
    );
  });

  it("of nothing is its heading", () => {
    expect(formatTable(["A", "B"], [])).toBe("A  B\n");
  });
});

describe("an age", () => {
  it.each([
    [-5_000, "0s"],
    [59_999, "59s"],
    [60_000, "1m"],
    [3_599_000, "59m"],
    [86_399_000, "23h"],
    [172_800_000, "2d"],
  ])("of %d ms is %s", (ms, text) => {
    expect(formatAge(ms)).toBe(text);
  });
});
