import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type LineFile, type LineFileOptions, openLineFile } from "./line-file.ts";
import { type LogFields, silentLog } from "./log.ts";

let directory: string;
let said: { readonly message: string; readonly fields: LogFields | undefined }[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-lines-"));
  said = [];
});
afterEach(() => rm(directory, { recursive: true }));

function open(target: string, more: Partial<LineFileOptions> = {}) {
  const say = (message: string, fields?: LogFields) => void said.push({ message, fields });
  return openLineFile({ target, mode: 0o640, log: { ...silentLog, warn: say, error: say }, ...more });
}

/** Writes one line after the other, each in a write of its own. */
async function writeOneByOne(file: LineFile, path: string, lines: readonly string[]): Promise<void> {
  for (const line of lines) {
    file.write(line);
    await vi.waitFor(async () => expect(await readFile(path, "utf8")).toContain(`${line}\n`), {
      interval: 1,
    });
  }
}

const numbered = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => `line ${String(from + index).padStart(3, "0")}`);

describe("lines to a file", () => {
  it("are appended in order, to a file that is made with its directory, not for everyone to read", async () => {
    const path = join(directory, "deep/er/lines");
    const file = await open(path);
    for (let line = 0; line < 1_000; line += 1) file.write(`line ${line}`);
    await file.close();
    const text = await readFile(path, "utf8");
    expect(text).toBe(Array.from({ length: 1_000 }, (_, line) => `line ${line}\n`).join(""));
    expect((await stat(path)).mode & 0o777).toBe(0o640);
    expect(said).toEqual([]);
  });

  it("are written without a wait when there are many, and when the file is closed", async () => {
    const path = join(directory, "lines");
    const file = await open(path);
    const long = "x".repeat(70_000);
    file.write(long);
    file.write("last");
    await file.close();
    expect(await readFile(path, "utf8")).toBe(`${long}\nlast\n`);
  });

  it("begin anew behind half a line that a killed process left", async () => {
    const path = join(directory, "lines");
    await writeFile(path, '{"whole":1}\n{"ha');
    const file = await open(path);
    file.write('{"whole":2}');
    await file.close();
    expect(await readFile(path, "utf8")).toBe('{"whole":1}\n{"ha\n{"whole":2}\n');
  });

  it("follow a file that is rotated away", async () => {
    const path = join(directory, "lines");
    const file = await open(path);
    file.write("before");
    await vi.waitFor(async () => expect(await readFile(path, "utf8")).toBe("before\n"));
    await rename(path, `${path}.1`);
    // The path is looked at only now and then, so that a line costs no stat.
    await vi.waitFor(
      async () => {
        file.write("after");
        expect(await readFile(path, "utf8")).toContain("after\n");
      },
      { timeout: 5_000 },
    );
    await file.close();
    expect(await readFile(`${path}.1`, "utf8")).toMatch(/^before\n(after\n)*$/);
    expect(said).toEqual([]);
  });

  it("are dropped on a full disk, which is said once, and at the end with their number", async () => {
    const file = await open("/dev/full");
    for (let line = 0; line < 10; line += 1) {
      file.write("x");
      await new Promise(setImmediate);
    }
    await file.close();
    expect(said).toEqual([
      {
        message: "lines cannot be written: they are dropped until they can",
        fields: { error: "lines.write failed on /dev/full: ENOSPC" },
      },
      { message: "lines were lost", fields: { target: "/dev/full", lost: 10 } },
    ]);
  });

  it("are written again when they can be, and the lost ones are counted", async () => {
    const path = join(directory, "dir/lines");
    const file = await open(path);
    await rm(join(directory, "dir"), { recursive: true });
    await writeFile(join(directory, "dir"), "in the way");
    await vi.waitFor(
      () => {
        file.write("lost");
        expect(said).toHaveLength(1);
      },
      { timeout: 5_000 },
    );
    await rm(join(directory, "dir"));
    await vi.waitFor(async () => {
      file.write("kept");
      expect(await readFile(path, "utf8")).toMatch(/^(lost\n)*kept\n/);
    });
    await file.close();
    expect(said.map(({ message }) => message)).toEqual([
      "lines cannot be written: they are dropped until they can",
      "lines are written again, some were lost",
    ]);
  });

  it("wait in bounded memory", async () => {
    const path = join(directory, "lines");
    const file = await open(path);
    const mebibyte = "x".repeat(1 << 20);
    for (let line = 0; line < 50; line += 1) file.write(mebibyte); // no write ends within one turn of the loop
    await file.close();
    expect((await stat(path)).size).toBeLessThan(10 << 20);
    expect(said).toMatchObject([{ fields: { lost: expect.any(Number) } }]);
  });

  it("are refused at the start where the file cannot be opened, by its name", async () => {
    await mkdir(join(directory, "folder"));
    await expect(open(join(directory, "folder"))).rejects.toThrow(/lines\.open failed on .*folder: EISDIR/);
    await writeFile(join(directory, "file"), "");
    await expect(open(join(directory, "file/lines"))).rejects.toThrow(
      /lines\.open failed on .*file\/lines: (ENOTDIR|EEXIST)/,
    );
  });
});

describe("a file that is full", () => {
  const rotation = { maxBytes: 90, keep: 3 };
  const all = async (path: string) => {
    const names = [`${path}.3`, `${path}.2`, `${path}.1`, path];
    const texts = await Promise.all(names.map((name) => readFile(name, "utf8").catch(() => "")));
    return texts;
  };

  it("is put aside, and no line is lost but with the oldest file", async () => {
    const path = join(directory, "lines");
    const file = await open(path, { rotation });
    await writeOneByOne(file, path, numbered(0, 60));
    await file.close();
    const texts = await all(path);
    for (const text of texts) expect(Buffer.byteLength(text)).toBeLessThanOrEqual(90);
    const kept = texts.join("").trimEnd().split("\n");
    expect(kept).toEqual(numbered(60 - kept.length, 60));
    expect(kept.length).toBeGreaterThan(30);
    expect((await readdir(directory)).sort()).toEqual(["lines", "lines.1", "lines.2", "lines.3"]);
    expect(said).toEqual([]);
  });

  it("is put aside at once where it was full at the start", async () => {
    const path = join(directory, "lines");
    await writeFile(path, `${"x".repeat(200)}\n`);
    const file = await open(path, { rotation });
    file.write("new");
    await file.close();
    expect(await readFile(path, "utf8")).toBe("new\n");
    expect((await stat(`${path}.1`)).size).toBe(201);
  });

  it("leaves what stands behind a gap in the numbers", async () => {
    const path = join(directory, "lines");
    await writeFile(path, `${"x".repeat(200)}\n`);
    await writeFile(`${path}.2`, "older\n");
    const file = await open(path, { rotation });
    file.write("new");
    await file.close();
    expect(await readFile(`${path}.2`, "utf8")).toBe("older\n");
    expect(await readFile(path, "utf8")).toBe("new\n");
  });

  it("is rotated by one of two writers, and neither loses a line", async () => {
    const path = join(directory, "lines");
    const many = { rotation: { maxBytes: 600, keep: 9 } };
    const [one, two] = [await open(path, many), await open(path, many)];
    const lines = numbered(0, 200);
    for (const [index, line] of lines.entries()) {
      (index % 2 === 0 ? one : two).write(line);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await Promise.all([one.close(), two.close()]);
    const names = (await readdir(directory)).filter((name) => name.startsWith("lines"));
    const texts = await Promise.all(names.map((name) => readFile(join(directory, name), "utf8")));
    expect(texts.join("").trimEnd().split("\n").sort()).toEqual(lines);
    expect(said).toEqual([]);
  });

  it("grows on where it cannot be put aside, and the log says so", async () => {
    const path = join(directory, "lines");
    await mkdir(`${path}.1/full`, { recursive: true });
    await mkdir(`${path}.2/full`, { recursive: true });
    await mkdir(`${path}.3/full`, { recursive: true });
    const file = await open(path, { rotation });
    await writeOneByOne(file, path, numbered(0, 30));
    await file.close();
    expect(await readFile(path, "utf8")).toBe(`${numbered(0, 30).join("\n")}\n`);
    expect(said).toHaveLength(1);
    expect(said[0]?.message).toBe("a full file cannot be put aside: it grows on");
  });

  it("is put aside also after a process was killed while it did that", async () => {
    const path = join(directory, "lines");
    await writeFile(path, `${"x".repeat(200)}\n`);
    await writeFile(`${path}.rotating`, "");
    const file = await open(path, { rotation });
    await writeOneByOne(file, path, ["first"]);
    await expect(stat(`${path}.1`)).rejects.toThrow("ENOENT");
    const longAgo = new Date(Date.now() - 60_000);
    await utimes(`${path}.rotating`, longAgo, longAgo);
    await writeOneByOne(file, path, ["second"]); // takes the mark away
    await writeOneByOne(file, path, ["third"]);
    await file.close();
    expect(await readFile(path, "utf8")).toBe("third\n");
    expect(said).toEqual([]);
  });

  it("is none of ours where it is no file", async () => {
    const file = await open("/dev/null", { rotation: { maxBytes: 1, keep: 1 } });
    for (const line of numbered(0, 5)) file.write(line);
    await file.close();
    expect(said).toEqual([]);
  });
});

it("each line that is dropped is told at once", async () => {
  let lost = 0;
  const onLost = (lines: number) => {
    lost += lines;
  };
  const file = await open("/dev/full", { onLost });
  file.write("x");
  await vi.waitFor(() => expect(lost).toBe(1));
  await file.close();
});
