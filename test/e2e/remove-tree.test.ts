import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createFiles } from "../../src/host/files.ts";
import { createMounts } from "../../src/host/mount.ts";
import { createSyscalls } from "../../src/host/syscall.ts";

const syscalls = createSyscalls();
const files = createFiles(syscalls);
const mounts = createMounts(syscalls);
let root: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "trivet-remove-"));
  await mkdir(join(root, "tree", "guest"), { recursive: true });
});

afterEach(async () => {
  await mounts.unmount(join(root, "tree", "guest"));
  await rm(root, { recursive: true });
});

describe("the removal of a tree in which something is mounted fails, and loses nothing of it", () => {
  test("a directory of the same disk", async () => {
    await mkdir(join(root, "outside"));
    await writeFile(join(root, "outside", "precious"), "data");
    await mounts.bind(join(root, "outside"), join(root, "tree", "guest"), { readOnly: false, flags: [] });
    await expect(files.removeTree(join(root, "tree"))).rejects.toMatchObject({ kind: "precondition" });
    expect(await readdir(join(root, "outside"))).toEqual(["precious"]);
  });

  test("another file system", async () => {
    await syscalls.mount("tmpfs", join(root, "tree", "guest"), "tmpfs", 0, "size=1m");
    await writeFile(join(root, "tree", "guest", "precious"), "data");
    await expect(files.removeTree(join(root, "tree"))).rejects.toMatchObject({ kind: "precondition" });
    expect(await readdir(join(root, "tree", "guest"))).toEqual(["precious"]);
  });
});
