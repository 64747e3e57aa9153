import { mkdir, mkdtemp, rmdir, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "vitest";
import { createMounts } from "../../src/host/mount.ts";
import { createSyscalls } from "../../src/host/syscall.ts";
import { mountsContract } from "../contract/mount.ts";

describe("the kernel's mount table keeps the contract (needs root)", () => {
  const mounts = createMounts(createSyscalls());

  test.each(mountsContract)("$title", async ({ run }) => {
    const root = await mkdtemp(join(tmpdir(), "trivet-mount-"));
    const [source, target, second] = ["source", "target", "second"].map((name) => join(root, name));
    if (!source || !target || !second) throw new Error("three directories are needed");
    for (const path of [source, target, second]) await mkdir(path);
    const [file, otherFile] = [join(root, "file"), join(root, "other-file")];
    for (const path of [file, otherFile]) await writeFile(path, path);
    try {
      await run({ mounts, source, target, second, file, otherFile, none: join(root, "none") });
    } finally {
      for (const { mountPoint } of [...(await mounts.list())].reverse()) {
        if (mountPoint.startsWith(`${root}/`)) await mounts.unmount(mountPoint);
      }
      for (const path of [file, otherFile]) await unlink(path);
      for (const path of [source, target, second, root]) await rmdir(path);
    }
  });
});
