import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { createFiles, ensureDirectory } from "../../src/host/files.ts";
import { createSyscalls } from "../../src/host/syscall.ts";
import { createFakeFiles } from "../fakes/files.ts";
import { filesContract } from "./files.ts";

describe("the fake file system keeps the contract", () => {
  test.each(filesContract)("$title", async ({ run }) => {
    const files = createFakeFiles({ directories: ["/work"] });
    await run({ files, root: "/work", symlink: files.symlink.bind(files) });
  });
});

describe("the real file system keeps the contract", () => {
  const files = createFiles(createSyscalls());

  test("ensureDirectory gives up where the parent is there and the directory can never be", async () => {
    // procfs answers ENOENT to mkdir, as does a directory that was deleted while it was open.
    await expect(ensureDirectory(files, "/proc/trivet/pool", 0o700)).rejects.toMatchObject({
      kind: "not-found",
      subject: "/proc/trivet",
    });
  });

  test.each(filesContract)("$title", async ({ run }) => {
    const root = await mkdtemp(join(tmpdir(), "trivet-files-"));
    try {
      await run({ files, root, symlink });
    } finally {
      await rm(root, { recursive: true });
    }
  });
});
