/**
 * Files that have several names. The disk is the table: the first name's copy gets a second name in a directory beside
 * the tree, by which the others are linked. So a tree of millions of such files takes no memory.
 */
import type { BigIntStats } from "node:fs";
import { below, close, link, mkdir, open, PRIVATE_DIRECTORY, READ_DIRECTORY, unless } from "./descriptor.ts";

/** The files with several names of one tree. */
export interface HardLinks {
  /** Makes the file at `path`: by `make`, the first time, and from then on as another name of that. */
  place(stat: BigIntStats, path: Buffer, make: () => Promise<void>): Promise<void>;
  close(): Promise<void>;
}

/** Makes `directory`, which the caller removes with all that is in it; its file system is the copy's. */
export async function openHardLinks(directory: string): Promise<HardLinks> {
  await mkdir(directory, PRIVATE_DIRECTORY);
  const fd = await open(directory, READ_DIRECTORY);
  const running = new Map<string, Promise<void>>();
  const placeOne = async (key: string, path: Buffer, make: () => Promise<void>) => {
    const known = below(fd, Buffer.from(key));
    // One that has as many names as the file system allows cannot have another: it becomes a file of its own.
    const linked = await unless(
      ["ENOENT", "EMLINK"],
      link(known, path).then(() => true),
    );
    if (linked) return;
    await make();
    await unless(["EEXIST", "EMLINK"], link(path, known));
  };
  return {
    async place(stat, path, make) {
      // An inode's number may be given to another file when this one is gone: the time of birth tells them apart.
      const key = `${stat.dev}-${stat.ino}-${stat.birthtimeNs}`;
      const before = running.get(key) ?? Promise.resolve();
      const now = before.catch(() => undefined).then(() => placeOne(key, path, make));
      running.set(key, now);
      try {
        await now;
      } finally {
        if (running.get(key) === now) running.delete(key);
      }
    },
    close: () => close(fd),
  };
}
