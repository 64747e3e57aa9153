/**
 * Removes a directory tree by descriptors. Whoever filled the tree may still hold a directory of it open and rearrange it
 * meanwhile, or may have made it deeper than any path can say: so no step goes through more than one name below a
 * directory that is open already, no link is followed, and no mount is entered, bind mounts of the same disk included.
 */
import { randomUUID } from "node:crypto";
import { constants, type Dirent, readFileSync } from "node:fs";
import * as fs from "node:fs/promises";

/** Levels that are open at once, with two descriptors each. What lies deeper is moved up to the root first. */
const MAX_DEPTH = 32;
/** Unlinked at once: enough to keep the thread pool busy. */
const BATCH = 32;
/** How often a directory that somebody keeps filling is emptied before that is an error. */
const MAX_PASSES = 8;
/** The root gets what was moved up, from as many times `MAX_DEPTH` levels. */
const MAX_ROOT_PASSES = 10_000;
const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

interface Level {
  readonly handle: fs.FileHandle;
  readonly depth: number;
  readonly root: fs.FileHandle;
  readonly mountId: string;
}

/** Throws what the system calls throw: `EBUSY` where something is mounted in the tree; the rest of it may be gone then. */
export async function removeTree(path: string): Promise<void> {
  if (!(await fs.lstat(path)).isDirectory()) return fs.unlink(path);
  const handle = await fs.open(path, DIRECTORY);
  try {
    const level = { handle, depth: 0, root: handle, mountId: mountIdOf(handle) };
    await emptied(level, () => fs.rmdir(path));
  } finally {
    await handle.close();
  }
}

/** Empties the directory, and again as long as `remove` finds something in it. */
async function emptied(level: Level, remove: () => Promise<void>): Promise<void> {
  const passes = level.depth === 0 ? MAX_ROOT_PASSES : MAX_PASSES;
  for (let pass = 1; ; pass++) {
    await empty(level);
    try {
      return await remove();
    } catch (error) {
      if (pass === passes || codeOf(error) !== "ENOTEMPTY") throw error;
    }
  }
}

async function empty(level: Level): Promise<void> {
  // Latin-1 carries any bytes: names need not be UTF-8.
  const entries = await fs.opendir(own(level.handle), { encoding: "latin1", bufferSize: 256 });
  let batch: Promise<void>[] = [];
  const settle = async () => {
    const settled = await Promise.allSettled(batch);
    batch = [];
    for (const outcome of settled) if (outcome.status === "rejected") throw outcome.reason;
  };
  try {
    for await (const entry of entries) {
      if (entry.isDirectory()) await removeDirectory(level, entry);
      else batch.push(orGone(fs.unlink(below(level.handle, entry.name))));
      if (batch.length >= BATCH) await settle();
    }
  } finally {
    await settle();
  }
}

async function removeDirectory(level: Level, { name }: Dirent): Promise<void> {
  const path = below(level.handle, name);
  if (await isRemovedAsEmpty(path)) return;
  const handle = await openDirectory(path);
  if (!handle) return; // it is another thing by now: the next pass sees it
  try {
    // Another mount belongs to somebody: to remove its mount point fails with EBUSY, and nothing of it is lost.
    const isMount = mountIdOf(handle) !== level.mountId;
    if (!isMount && level.depth + 1 < MAX_DEPTH) {
      await emptied({ ...level, handle, depth: level.depth + 1 }, () => removeName(path));
    } else if (isMount) {
      await removeName(path);
    } else {
      await orGone(fs.rename(path, below(level.root, `.${randomUUID()}`)));
    }
  } finally {
    await handle.close();
  }
}

/** Most directories are: to open and read each would take five calls more. A mount point fails with EBUSY here too. */
async function isRemovedAsEmpty(path: Buffer): Promise<boolean> {
  try {
    await fs.rmdir(path);
    return true;
  } catch (error) {
    if (["ENOTEMPTY", "EEXIST", "EBUSY", "ENOTDIR", "ENOENT"].includes(codeOf(error))) return false;
    throw error;
  }
}

async function openDirectory(path: Buffer): Promise<fs.FileHandle | undefined> {
  try {
    return await fs.open(path, DIRECTORY);
  } catch (error) {
    if (["ENOENT", "ENOTDIR", "ELOOP"].includes(codeOf(error))) return undefined;
    throw error;
  }
}

/** What has become another thing meanwhile is left to the next pass. */
async function removeName(path: Buffer): Promise<void> {
  await orGone(fs.rmdir(path), "ENOTDIR");
}

async function orGone(effect: Promise<void>, ...harmless: string[]): Promise<void> {
  try {
    await effect;
  } catch (error) {
    if (!["ENOENT", ...harmless].includes(codeOf(error))) throw error;
  }
}

/** Two mounts of one file system have one device number: only the mount's id tells them apart (proc(5), fdinfo). */
function mountIdOf(handle: fs.FileHandle): string {
  // Synchronous: it is made up by the kernel from memory, and asks no disk.
  const text = readFileSync(`/proc/self/fdinfo/${handle.fd}`, "utf8");
  return /^mnt_id:\s*(\d+)$/m.exec(text)?.[1] ?? "";
}

function own({ fd }: fs.FileHandle): string {
  return `/proc/self/fd/${fd}`;
}

/** A name in an open directory, as a path that no rename of that directory changes. */
function below(directory: fs.FileHandle, name: string): Buffer {
  return Buffer.concat([Buffer.from(`${own(directory)}/`), Buffer.from(name, "latin1")]);
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? "";
}
