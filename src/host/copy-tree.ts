/**
 * Copies trees and files that somebody may be changing meanwhile. A tree is gone through by descriptors: no link is
 * followed, no mount entered, nothing outside of it reached, whatever its owner does to it. Content, owners, modes,
 * extended attributes, hard links, holes and times are kept, device nodes are left out; all of it is synced at the end.
 */
import { constants } from "node:fs";
import { dirname } from "node:path";
import { copyContent } from "./copy/content.ts";
import {
  close,
  fstat,
  fsync,
  MAKE_FILE,
  mkdir,
  open,
  PRIVATE_DIRECTORY,
  PRIVATE_FILE,
  READ_DIRECTORY,
} from "./copy/descriptor.ts";
import { openHardLinks } from "./copy/hard-links.ts";
import {
  type CopyJob,
  type CopyReport,
  type CopySyscalls,
  createCopyJob,
  type TreeCopyOptions,
} from "./copy/job.ts";
import { copyLevels } from "./copy/walk.ts";
import { fromNodeError } from "./errno.ts";
import { removeTree } from "./remove-tree.ts";
import { createSlots } from "./slots.ts";

export type { CopyProgress, CopyReport, TreeCopyOptions } from "./copy/job.ts";

/** Of the four threads that Node has for what blocks: the last is for others. */
const THREADS = 3;

/** Copying, as an effect. */
export interface Copier {
  /**
   * Copies the directory `source` to `target`, which must not exist; beside it stands `target.links` for a while.
   * Returns when every file and directory of the copy, and the directory of `target`, is on the disk. What it throws
   * leaves a part of the copy behind, for the caller to remove: `exhausted` where the disk or a quota is full,
   * `cancelled`, `conflict` if `target` exists.
   */
  tree(source: string, target: string, options: TreeCopyOptions): Promise<CopyReport>;
  /**
   * Copies the content of the file `source` to the new file `target` of mode 0600: shared where the file system can,
   * else with its holes. Synced, but for the name in its directory.
   */
  file(source: string, target: string, options: Omit<TreeCopyOptions, "devices">): Promise<CopyReport>;
}

/** The real one. All copies of a process share its part of the thread pool. */
export function createCopier(syscalls: CopySyscalls): Copier {
  const slots = createSlots(THREADS);
  const run = async (
    [source, target]: readonly [string, string],
    options: TreeCopyOptions,
    work: (job: CopyJob, source: string, target: string) => Promise<void>,
  ) => {
    const job = createCopyJob(syscalls, slots, options);
    try {
      job.check();
      await work(job, source, target);
      return job.report;
    } catch (error) {
      throw fromNodeError(error, "copy", target);
    } finally {
      await job.sync.abandon();
    }
  };
  return {
    tree: (source, target, options) => run([source, target], options, copyTree),
    file: (source, target, options) => run([source, target], options, copyFile),
  };
}

async function copyTree(job: CopyJob, source: string, target: string): Promise<void> {
  const from = await open(source, READ_DIRECTORY);
  const to = await makeDirectory(target).catch(async (error) => {
    await close(from);
    throw error;
  });
  const beside = `${target}.links`;
  const links = await openHardLinks(beside).catch(async (error) => {
    for (const fd of [from, to]) await close(fd);
    throw error;
  });
  try {
    await copyLevels({ job, links }, { source: from, target: to });
    await job.sync.flush();
  } finally {
    await links.close();
  }
  await removeTree(beside);
  await syncDirectory(dirname(target));
}

async function makeDirectory(path: string): Promise<number> {
  await mkdir(path, PRIVATE_DIRECTORY);
  return open(path, READ_DIRECTORY);
}

async function syncDirectory(path: string): Promise<void> {
  const fd = await open(path, READ_DIRECTORY);
  try {
    await fsync(fd);
  } finally {
    await close(fd);
  }
}

async function copyFile(job: CopyJob, source: string, target: string): Promise<void> {
  const from = await open(source, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const to = await open(target, MAKE_FILE, PRIVATE_FILE);
    try {
      await copyContent(job, from, to, await fstat(from));
      await job.slots.run(() => fsync(to));
      job.progress({ entries: 1 });
    } finally {
      await close(to);
    }
  } finally {
    await close(from);
  }
}
