import { mkdtemp, open, rename, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { loopContract } from "../contract/loop.ts";
import { imageContract } from "../contract/mkfs.ts";
import { loopsBelow, mayGrowExt4, realImageDeps, run as runProgram } from "./support/image-world.ts";

const deps = realImageDeps();
let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "trivet-image-"));
});
afterEach(async () => {
  expect(await loopsBelow(root)).toEqual([]);
  await rm(root, { recursive: true });
});

describe("the kernel's loop devices keep the contract (needs root)", () => {
  test.each(loopContract)("$title", async ({ run }) => {
    await run({
      loops: deps.loops,
      async image(name, sizeBytes) {
        const path = join(root, name);
        await writeFile(path, "");
        await truncate(path, sizeBytes);
        return path;
      },
      extend: truncate,
      rename,
      sizeOf: async (device) => Number(await runProgram("blockdev", "--getsize64", device)),
      async use(device) {
        const handle = await open(device, "r");
        return () => handle.close();
      },
    });
  });
});

describe("real images keep the contract (needs root)", () => {
  test.each(imageContract)("$title", ({ run }) => run({ ...deps, root, canGrowMounted: mayGrowExt4() }));
});
