import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { CriConfig } from "../../config/cri.ts";
import { createQuery } from "./call-query.ts";
import { createCallSource, unreadableNote } from "./call-source.ts";
import { createCallTable } from "./calls-table.ts";

let directory: string;
let file: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-calls-"));
  file = join(directory, "calls.jsonl");
});
afterEach(() => rm(directory, { recursive: true }));

const config = {} as CriConfig;
const good = { time: "2026-11-21T02:10:00Z", method: "Version", status: "OK", totalMs: 1, heldMs: 0 };

async function read(lines: readonly string[]) {
  await writeFile(file, `${lines.join("\n")}\n`);
  const source = createCallSource(file, config);
  const records = [];
  for await (const some of source.read({})) records.push(...some);
  return { records, source };
}

describe("the records of a file", () => {
  it.each([
    ["no JSON", "{"],
    ["something else", "[1]"],
    ["a number for an id", JSON.stringify({ ...good, sandboxId: 7 })],
    ["a time that is none", JSON.stringify({ ...good, time: 5 })],
    ["text for a duration", JSON.stringify({ ...good, runtimeMs: "1" })],
    ["text for a list", JSON.stringify({ ...good, policies: "x" })],
    ["a list of nothing", JSON.stringify({ ...good, changes: [null] })],
    ["a denial without its policy", JSON.stringify({ ...good, denied: {} })],
  ])("are those of the proxy: %s is told at the end, and disturbs nobody", async (_, line) => {
    const { records, source } = await read([JSON.stringify(good), line]);
    expect(records).toEqual([good]);
    expect(unreadableNote(source)).toBe(`1 line of ${file} could not be read as records\n`);
  });

  it("may have fields of a later version", async () => {
    const later = {
      ...good,
      policies: [{ policy: "p", action: "audited", weight: 3 }],
      more: { than: "now" },
    };
    const { records } = await read([JSON.stringify(later)]);
    expect(records).toEqual([later]);
    expect(records.filter(createQuery({ policy: "p" }, 0).matches)).toHaveLength(1);
  });

  it("move no cursor, whatever is in them", async () => {
    const record = {
      ...good,
      status: "OK\u001b[2J",
      method: "M\u001b[2J",
      pod: "p\u009b2J",
      time: "\u001b[2J",
    };
    const { records } = await read([JSON.stringify(record)]);
    expect(createCallTable({ colour: false }).add(records)).not.toMatch(/[^\x20-\x7e\n]/);
  });
});
