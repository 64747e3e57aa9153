/**
 * Files and directories, as an effect. Nothing here syncs by itself: whoever promises durability calls `sync`
 * on the file and on its directory, so that the sequence is visible in the caller and can be tested.
 */
import { constants } from "node:fs";
import * as fs from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isKind } from "../errors.ts";
import { fromNodeError } from "./errno.ts";
import { isWholeMode, readWhole, syncByPath, writeNew } from "./raw-file.ts";
import { removeTree } from "./remove-tree.ts";
import { shareSyncs } from "./share-syncs.ts";
import type { Syscalls } from "./syscall.ts";

export type EntryKind = "file" | "directory" | "symlink" | "other";

/** lstat(2): symbolic links are described, never followed. */
export interface FileStat {
  readonly kind: EntryKind;
  readonly dev: bigint;
  readonly ino: bigint;
  /** Permission bits only, as in 0o755. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly links: number;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
}

/** statfs(2) of the file system that holds a path. `type` is its magic number. */
export interface FileSystemSpace {
  readonly type: number;
  readonly totalBytes: number;
  /** What nobody has; root may have all of it. */
  readonly freeBytes: number;
  /** What others than root may still have. */
  readonly availableBytes: number;
  readonly totalInodes: number;
  readonly freeInodes: number;
}

export interface OpenFile {
  stat(): Promise<FileStat>;
  read(): Promise<Buffer>;
  write(data: Uint8Array, position: number): Promise<void>;
  /** An exclusive flock(2) on the inode, held until `close`; waits for the present holder. */
  lock(): Promise<void>;
  close(): Promise<void>;
}

export interface Files {
  /** The whole content. `not-found` where there is none. */
  read(path: string): Promise<Buffer>;
  /** A new file with exactly this mode, whatever the umask; `conflict` if the name is taken. */
  create(path: string, data: Uint8Array, mode: number): Promise<void>;
  /** For reading and writing, never through a symbolic link. */
  open(path: string): Promise<OpenFile>;
  /** fsync(2) of a file or a directory. */
  sync(path: string): Promise<void>;
  /** One new directory with exactly this mode; `conflict` if the name is taken. */
  mkdir(path: string, mode: number): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** A hard link; `conflict` if the name is taken: so is something claimed in one step. */
  link(existing: string, name: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** An empty directory only. */
  rmdir(path: string): Promise<void>;
  list(path: string): Promise<{ readonly name: string; readonly kind: EntryKind }[]>;
  stat(path: string): Promise<FileStat>;
  /** The same place without symbolic links, `.` and `..` on the way: the form in which mountinfo names it. */
  realPath(path: string): Promise<string>;
  setMode(path: string, mode: number): Promise<void>;
  setOwner(path: string, uid: number, gid: number): Promise<void>;
  /**
   * Gives a directory to a group: the group may do what it likes in it, and what is made in it belongs to the group. By one
   * descriptor; a symbolic link is refused. What is in the directory stays as it is.
   */
  setGroup(path: string, gid: number): Promise<void>;
  /** A symbolic link; `conflict` if the name is taken. */
  symlink(target: string, path: string): Promise<void>;
  /** What a symbolic link says; `io` for anything else. */
  readLink(path: string): Promise<string>;
  /** A tree, without following links and without entering mounts; `precondition` where something is mounted in it. */
  removeTree(path: string): Promise<void>;
  space(path: string): Promise<FileSystemSpace>;
}

/** Set-group-id, and everything for the group. */
const GROUP_BITS = 0o2070;
const LOCK_EX = 2;
const LOCK_NB = 4;
const LOCK_POLL_MS = 2;
const LOCK_POLL_MAX_MS = 50;

async function attempt<T>(op: string, subject: string, effect: () => Promise<T>): Promise<T> {
  try {
    return await effect();
  } catch (error) {
    throw fromNodeError(error, op, subject);
  }
}

function kindOf(entry: { isFile(): boolean; isDirectory(): boolean; isSymbolicLink(): boolean }): EntryKind {
  if (entry.isFile()) return "file";
  if (entry.isDirectory()) return "directory";
  return entry.isSymbolicLink() ? "symlink" : "other";
}

function toStat(stat: Awaited<ReturnType<typeof fs.lstat>> | import("node:fs").BigIntStats): FileStat {
  return {
    kind: kindOf(stat),
    dev: BigInt(stat.dev),
    ino: BigInt(stat.ino),
    mode: Number(stat.mode) & 0o7777,
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    links: Number(stat.nlink),
    sizeBytes: Number(stat.size),
    modifiedMs: Number(stat.mtimeMs),
  };
}

async function createFile(path: string, data: Uint8Array, mode: number): Promise<void> {
  let isOurs = false;
  try {
    await writeNew(path, data, mode, () => {
      isOurs = true;
    });
  } catch (error) {
    // A half-written file would pass for a whole one.
    if (isOurs) await fs.unlink(path).catch(() => undefined);
    throw error;
  }
}

/** Asks again and again: a waiting flock(2) would hold a thread of the pool, and a few of them every other effect. */
async function lockFile(fd: number, syscalls: Pick<Syscalls, "flock">): Promise<void> {
  for (let wait = LOCK_POLL_MS; ; wait = Math.min(2 * wait, LOCK_POLL_MAX_MS)) {
    try {
      return await syscalls.flock(fd, LOCK_EX | LOCK_NB);
    } catch (error) {
      if (!isKind(error, "busy")) throw error;
    }
    await sleep(wait);
  }
}

function openFile(path: string, handle: fs.FileHandle, syscalls: Pick<Syscalls, "flock">): OpenFile {
  return {
    stat: () => attempt("file.stat", path, async () => toStat(await handle.stat({ bigint: true }))),
    read: () =>
      attempt("file.read", path, async () => {
        const size = (await handle.stat()).size;
        const { bytesRead, buffer } = await handle.read(Buffer.alloc(size), 0, size, 0);
        return buffer.subarray(0, bytesRead);
      }),
    write: (data, position) =>
      attempt("file.write", path, async () => {
        await handle.write(data, 0, data.length, position);
      }),
    lock: () => lockFile(handle.fd, syscalls),
    close: () => handle.close(),
  };
}

async function setGroup(path: string, gid: number): Promise<void> {
  const handle = await fs.open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    const { uid, mode } = await handle.stat();
    await handle.chown(uid, gid);
    await handle.chmod((mode & 0o7777) | GROUP_BITS);
  } finally {
    await handle.close();
  }
}

async function space(path: string): Promise<FileSystemSpace> {
  const found = await fs.statfs(path);
  return {
    type: found.type,
    totalBytes: found.blocks * found.bsize,
    freeBytes: found.bfree * found.bsize,
    availableBytes: found.bavail * found.bsize,
    totalInodes: found.files,
    freeInodes: found.ffree,
  };
}

export function createFiles(syscalls: Pick<Syscalls, "flock">): Files {
  const sync = shareSyncs(syncByPath);
  return {
    read: (path) => attempt("file.read", path, () => readWhole(path)),
    create: (path, data, mode) => attempt("file.create", path, () => createFile(path, data, mode)),
    open: (path) =>
      attempt("file.open", path, async () =>
        openFile(path, await fs.open(path, constants.O_RDWR | constants.O_NOFOLLOW), syscalls),
      ),
    sync: (path) => attempt("file.sync", path, () => sync(path)),
    mkdir: (path, mode) =>
      attempt("file.mkdir", path, async () => {
        await fs.mkdir(path, { mode });
        if (!isWholeMode(mode)) await fs.chmod(path, mode);
      }),
    rename: (from, to) => attempt("file.rename", to, () => fs.rename(from, to)),
    link: (existing, name) => attempt("file.link", name, () => fs.link(existing, name)),
    unlink: (path) => attempt("file.unlink", path, () => fs.unlink(path)),
    rmdir: (path) => attempt("file.rmdir", path, () => fs.rmdir(path)),
    list: (path) =>
      attempt("file.list", path, async () =>
        (await fs.readdir(path, { withFileTypes: true })).map((entry) => ({
          name: entry.name,
          kind: kindOf(entry),
        })),
      ),
    stat: (path) => attempt("file.stat", path, async () => toStat(await fs.lstat(path, { bigint: true }))),
    realPath: (path) => attempt("file.realpath", path, () => fs.realpath(path)),
    setMode: (path, mode) => attempt("file.chmod", path, () => fs.chmod(path, mode)),
    setOwner: (path, uid, gid) => attempt("file.chown", path, () => fs.lchown(path, uid, gid)),
    setGroup: (path, gid) => attempt("file.setgroup", path, () => setGroup(path, gid)),
    symlink: (target, path) => attempt("file.symlink", path, () => fs.symlink(target, path)),
    readLink: (path) => attempt("file.readlink", path, () => fs.readlink(path)),
    removeTree: (path) => attempt("file.remove", path, () => removeTree(path)),
    space: (path) => attempt("file.space", path, () => space(path)),
  };
}

/** Makes every missing directory on the way to `path`; those that exist stay as they are. */
export async function ensureDirectory(files: Files, path: string, mode: number): Promise<void> {
  try {
    return await mkdirUnlessThere(files, path, mode);
  } catch (error) {
    if (!isKind(error, "not-found") || dirname(path) === path) throw error;
  }
  await ensureDirectory(files, dirname(path), mode);
  await mkdirUnlessThere(files, path, mode); // once: where it cannot be made, it cannot be made the second time
}

async function mkdirUnlessThere(files: Files, path: string, mode: number): Promise<void> {
  try {
    await files.mkdir(path, mode);
  } catch (error) {
    if (!isKind(error, "conflict") || (await files.stat(path)).kind !== "directory") throw error;
  }
}

/** Replaces a file so that a reader, also after a power cut, sees the old content or the new: temp, sync, rename, sync. */
export async function replaceFile(files: Files, path: string, data: Uint8Array, mode: number): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.tmp`);
  await files.unlink(temporary).catch((error: { kind?: string }) => {
    if (error.kind !== "not-found") throw error;
  });
  await files.create(temporary, data, mode);
  await files.sync(temporary);
  await files.rename(temporary, path);
  await files.sync(dirname(path));
}
