import { mkdtemp, rename, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { openLineFile } from "./line-file.ts";
import { readLines } from "./line-reader.ts";
import { silentLog } from "./log.ts";

let directory: string;
let path: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-read-"));
  path = join(directory, "lines");
});
afterEach(() => rm(directory, { recursive: true }));

async function all(options?: Parameters<typeof readLines>[1]): Promise<string[]> {
  const lines: string[] = [];
  for await (const some of readLines(path, options)) lines.push(...some);
  return lines;
}

describe("the lines of a file that was rotated", () => {
  it("come oldest first, and half a line at the end is left for later", async () => {
    await writeFile(`${path}.2`, "a\nb\n");
    await writeFile(`${path}.1`, "c\n");
    await writeFile(path, "d\nhalf");
    expect(await all()).toEqual(["a", "b", "c", "d"]);
  });

  it("come whole where a chunk ends within one, or within a character of it", async () => {
    const lines = Array.from({ length: 9_000 }, (_, index) => `${index} ${"ü€𝄞".repeat(index % 40)}`);
    await writeFile(path, `${lines.join("\n")}\n`);
    expect(await all()).toEqual(lines);
  });

  it("are passed over where all of a file is too old", async () => {
    await writeFile(`${path}.2`, "a\n");
    await writeFile(`${path}.1`, "b\n");
    await writeFile(path, "c\n");
    const later = Date.now() + 60_000;
    expect(await all({ sinceMs: later })).toEqual(["c"]);
  });

  it("need a file", async () => {
    await expect(all()).rejects.toMatchObject({ code: "ENOENT" });
  });
});

describe("a reader that follows", () => {
  /** Follows until `stop`; what it has seen so far is in `lines`. */
  function follow() {
    const stop = new AbortController();
    const lines: string[] = [];
    let caughtUp = 0;
    const done = (async () => {
      for await (const some of readLines(path, { follow: true, signal: stop.signal })) {
        if (some.length === 0) caughtUp += 1;
        lines.push(...some);
      }
    })();
    const end = () => {
      stop.abort();
      return done;
    };
    return { lines, caughtUp: () => caughtUp, end };
  }

  it("sees each line once through many rotations, also those of a writer that is faster than it", async () => {
    const file = await openLineFile({
      ...{ target: path, mode: 0o600, log: silentLog },
      rotation: { maxBytes: 2_000, keep: 50 },
    });
    file.write("first");
    await vi.waitFor(() => all());
    const reader = follow();
    const expected = ["first"];
    for (let line = 0; line < 1_000; line += 1) {
      expected.push(`line ${line}`);
      file.write(`line ${line}`);
      if (line % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await file.close();
    await vi.waitFor(() => expect(reader.lines).toEqual(expected), { timeout: 5_000 });
    expect(reader.caughtUp()).toBe(1);
    await reader.end();
  });

  it("goes on with the present file where another program put the last one aside in its own way", async () => {
    await writeFile(path, "a\n");
    const reader = follow();
    await vi.waitFor(() => expect(reader.lines).toEqual(["a"]));
    await rename(path, join(directory, "lines-20261121"));
    await writeFile(path, "b\n");
    await vi.waitFor(() => expect(reader.lines).toEqual(["a", "b"]), { timeout: 5_000 });
    await reader.end();
  });

  it("misses no line of a second writer, which sees later that the file was put aside", async () => {
    await writeFile(path, "a\n");
    const reader = follow();
    await vi.waitFor(() => expect(reader.caughtUp()).toBe(1));
    await rename(path, `${path}.1`);
    await writeFile(path, "c\n");
    await new Promise((resolve) => setTimeout(resolve, 700));
    await writeFile(`${path}.1`, "b\n", { flag: "a" });
    await vi.waitFor(() => expect(reader.lines).toEqual(["a", "b", "c"]), { timeout: 5_000 });
    await reader.end();
  });

  it("begins anew where the file was emptied", async () => {
    await writeFile(path, "a\nb\nc\n");
    const reader = follow();
    await vi.waitFor(() => expect(reader.caughtUp()).toBe(1));
    await truncate(path);
    await new Promise((resolve) => setTimeout(resolve, 300));
    await writeFile(path, "d\n", { flag: "a" });
    await vi.waitFor(() => expect(reader.lines).toEqual(["a", "b", "c", "d"]), { timeout: 5_000 });
    await reader.end();
  });
});
