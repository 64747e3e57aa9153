import { mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { openLineFile } from "./line-file.ts";
import { type LogFields, silentLog } from "./log.ts";

let directory: string;
let said: { readonly message: string; readonly fields: LogFields | undefined }[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-lines-"));
  said = [];
});
afterEach(() => rm(directory, { recursive: true }));

function open(target: string) {
  const say = (message: string, fields?: LogFields) => void said.push({ message, fields });
  return openLineFile({ target, mode: 0o640, log: { ...silentLog, warn: say, error: say } });
}

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
