import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, test } from "vitest";
import { createBtrfs } from "../../src/host/btrfs.ts";
import { createFiles } from "../../src/host/files.ts";
import { createSyscalls } from "../../src/host/syscall.ts";
import { btrfsContract } from "../contract/btrfs.ts";
import { createLoopDisk, type LoopDisk } from "./support/loop-disk.ts";

describe("a real btrfs keeps the contract (needs root)", () => {
  const syscalls = createSyscalls();
  const [btrfs, files] = [createBtrfs(syscalls), createFiles(syscalls)];
  let disk: LoopDisk;

  beforeAll(async () => {
    disk = createLoopDisk("btrfs", 256, ["-q"]);
    await btrfs.enableQuota(disk.path);
    while (!(await btrfs.quotaState(disk.path)).consistent) await new Promise((done) => setTimeout(done, 20));
  });
  afterAll(() => disk.remove());

  test.each(btrfsContract)("$title", async ({ run }) => {
    await run({ btrfs, files, root: await mkdtemp(join(disk.path, "case-")) });
  });
});
