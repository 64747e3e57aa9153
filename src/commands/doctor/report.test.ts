import { stripVTControlCharacters } from "node:util";
import { describe, expect, it } from "vitest";
import { node, wrong } from "../../../test/fakes/doctor-node.ts";
import { formatReport } from "./report.ts";

describe("the report", () => {
  it("shows what is wrong first, with all of it below the table, and colours only where asked", () => {
    const report = formatReport(wrong(node({ kubelet: { isShared: false } })), { all: false, colour: false });
    expect(report).toMatch(/^LEVEL +AREA +SUBJECT +FOUND\nerror +kubelet +mount propagation/);
    expect(report).toContain("  remedy:      run 'mount --make-rshared /'");
    expect(report).toMatch(/1 error, 0 warnings, 0 as it should be\n$/);
    expect(report).not.toContain("\u001b");
    expect(
      formatReport(wrong(node({ kubelet: { isShared: false } })), { all: false, colour: true }),
    ).toContain("\u001b[31merror");
  });

  it("wraps what was found to the terminal, cuts nothing, and leaves commands whole", () => {
    const cause = Array.from({ length: 30 }, (_, index) => `word${index}`).join(" ");
    const remedy = `run 'mount -o ${"x".repeat(100)} y'`;
    const finding = {
      level: "error",
      area: "storage",
      subject: "pool a",
      cause,
      consequence: "c",
      remedy,
    } as const;
    const report = formatReport([finding], { all: false, colour: true, columns: 80 });
    const lines = stripVTControlCharacters(report).split("\n");
    const [table, details] = [lines.slice(0, lines.indexOf("")), lines.slice(lines.indexOf(""))];
    expect(table.length).toBeGreaterThan(3);
    for (const line of table) expect(line.length).toBeLessThanOrEqual(80);
    const found = table[0]?.indexOf("FOUND") ?? 0;
    expect(
      table
        .slice(1)
        .map((line) => line.slice(found))
        .join(" "),
    ).toBe(cause);
    expect(table.slice(2).every((line) => line.slice(0, found).trim() === "")).toBe(true);
    expect(details.join("\n")).toContain(`remedy:      ${remedy}`);
    const unwrapped = formatReport([finding], { all: false, colour: false });
    expect(unwrapped.split("\n")[1]).toContain(cause);
  });

  it("shows what others have written on one line, and lets it steer no terminal", () => {
    const finding = { level: "unknown", area: "runtime", subject: "x", cause: "a\nb\u001b[2Jc" } as const;
    const report = formatReport([finding], { all: false, colour: false });
    expect(report).toMatch(/^LEVEL .*\nunknown +runtime +x +a b\?\[2Jc\n\n0 errors/);
  });
});
