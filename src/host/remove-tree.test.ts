import { execFile } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createFiles } from "./files.ts";

const run = promisify(execFile);
// The real one, without locks: those need the native library.
const { removeTree } = createFiles({ flock: async () => undefined });
let root: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "trivet-remove-"));
  await mkdir(`${root}/tree`);
});

afterEach(() => run("rm", ["-rf", root]));

function fill(directory: string, count: number): void {
  mkdirSync(directory);
  for (let n = 0; n < count; n++) writeFileSync(`${directory}/f${n}`, "");
}

test("a tenant who swaps a directory for a link while it is removed does not lead the removal out of the tree", async () => {
  fill(`${root}/victim`, 400);
  fill(`${root}/tree/a`, 400);
  const removing = removeTree(`${root}/tree`).catch((error: unknown) => error);
  while ((await readdir(`${root}/tree/a`)).length === 400);
  await rename(`${root}/tree/a`, `${root}/tree/moved`);
  await symlink(`${root}/victim`, `${root}/tree/a`);
  expect(await removing).toBeUndefined();
  expect(await readdir(`${root}/victim`)).toHaveLength(400);
  expect(existsSync(`${root}/tree`)).toBe(false);
});

test("a tree deeper than the longest path is removed, with few descriptors", async () => {
  const name = "d".repeat(200);
  // One level at a time: made inside out, since no path reaches the innermost.
  for (let level = 0; level < 300; level++) {
    await mkdir(`${root}/outer`);
    await rename(`${root}/tree`, `${root}/outer/${name}`);
    await rename(`${root}/outer`, `${root}/tree`);
  }
  await removeTree(`${root}/tree`);
  expect(existsSync(`${root}/tree`)).toBe(false);
});

test("a name that is no UTF-8 is removed", async () => {
  const name = Buffer.concat([Buffer.from(`${root}/tree/`), Buffer.from([0x61, 0xff, 0xfe])]);
  await writeFile(name, "x");
  await mkdir(Buffer.concat([name, Buffer.from([0x80])]));
  await removeTree(`${root}/tree`);
  expect(existsSync(`${root}/tree`)).toBe(false);
});

test("a directory that fails to open leaves the failure to the caller and the tree in place", async () => {
  await rm(`${root}/tree`, { recursive: true });
  await expect(removeTree(`${root}/tree`)).rejects.toMatchObject({ kind: "not-found", op: "file.remove" });
});
