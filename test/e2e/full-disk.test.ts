/** A call log on a disk that is full, and has room again: the log says each time that it fills up. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openLineFile } from "../../src/observe/line-file.ts";
import { silentLog } from "../../src/observe/log.ts";

const run = promisify(execFile);

let directory: string;
const at = (name: string) => join(directory, name);

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-full-"));
  await run("mount", ["-t", "tmpfs", "-o", "size=16k", "tmpfs", directory]);
});
afterEach(async () => {
  await run("umount", [directory]);
  await rm(directory, { recursive: true });
});

const fill = () => writeFile(at("filler"), Buffer.alloc(1 << 20)).catch(() => undefined);

it("lines that a full disk costs are spoken of also where it was full at the start", async () => {
  const said: string[] = [];
  const say = (message: string) => void said.push(message);
  await writeFile(at("lines"), "x".repeat(4_096)); // half a line, to the end of its block
  await fill();
  const log = { ...silentLog, warn: say, error: say };
  const file = await openLineFile({ target: at("lines"), mode: 0o600, log });
  const failure = "lines cannot be written: they are dropped until they can";
  expect(said).toEqual([failure]);
  await rm(at("filler"));
  file.write("kept");
  await expect.poll(() => readFile(at("lines"), "utf8")).toContain("\nkept\n");
  await fill();
  file.write("y".repeat(8_192));
  await expect.poll(() => said).toEqual([failure, failure]);
  await rm(at("filler"));
  file.write("kept too");
  await expect.poll(() => readFile(at("lines"), "utf8")).toContain("\nkept too\n");
  await file.close();
  expect(said.at(-1)).toBe("lines are written again, some were lost");
});
