/**
 * Image files: made, given their space, made larger. Their size changes in one step, after the space is there. Nothing here
 * syncs by itself.
 */
import { constants, type FileHandle, open, unlink } from "node:fs/promises";
import { isKind, TrivetError, withCleanupFailure } from "../errors.ts";
import { fromNodeError } from "./errno.ts";
import { HEADER_BYTES, type ImageContent, parseImageContent } from "./image-content.ts";
import type { Syscalls } from "./syscall.ts";

/** Image files on the file system of a pool. */
export interface ImageFiles {
  /** A new file of this size, root's alone, with no space of its own yet; `conflict` if the name is taken. */
  create(path: string, sizeBytes: number): Promise<void>;
  /** Gives the whole of a file its space, now and for good; what has it already stays as it is. `exhausted` on a full disk. */
  reserve(path: string): Promise<void>;
  /** Makes the file larger. With `reserve` the space comes first: on a full disk nothing has changed. */
  extend(path: string, sizeBytes: number, options: { readonly reserve: boolean }): Promise<void>;
  /**
   * Makes `target` a copy of `source` as it is at one moment, whoever writes to it: they share their space until one of
   * them is written. `unsupported` where the file system cannot; then there is no `target`.
   */
  share(source: string, target: string): Promise<void>;
  /** What is in it; undefined for a raw volume, and whatever else has no file system that we make. */
  inspect(path: string): Promise<ImageContent | undefined>;
}

const IMAGE_MODE = 0o600;
const NEW_FILE = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
// _IOR('f', 1, long) and _IOW('f', 2, long) of linux/fs.h; of the eight bytes the kernel uses four.
const FS_IOC_GETFLAGS = 0x8008_6601;
const FS_IOC_SETFLAGS = 0x4008_6602;
const FS_NOCOW_FL = 0x0080_0000;
/** st_blocks counts these (stat(2)). */
const STAT_BLOCK_BYTES = 512;
const PIECE_BYTES = 16 * 2 ** 20;

type ImageSyscalls = Pick<Syscalls, "allocate" | "ioctl" | "shareContent">;

/** The real ones. */
export function createImageFiles(syscalls: ImageSyscalls): ImageFiles {
  return {
    create: (path, sizeBytes) =>
      withFile(path, NEW_FILE, async (file) => {
        await file.chmod(IMAGE_MODE);
        await writeInPlace(syscalls, file.fd);
        await file.truncate(sizeBytes);
      }),
    share: (source, target) =>
      withFile(source, constants.O_RDONLY, (from) =>
        withFile(target, NEW_FILE, async (to) => {
          await to.chmod(IMAGE_MODE);
          await writeInPlace(syscalls, to.fd); // files that differ in this cannot share
          await shareOrRemove(syscalls, from.fd, { fd: to.fd, path: target });
        }),
      ),
    reserve: (path) =>
      withFile(path, constants.O_RDWR, async (file) => {
        const { size, blocks } = await file.stat();
        // Asked again for what it has, XFS wants as much free space beside it, and refuses on a full disk.
        if (blocks * STAT_BLOCK_BYTES < size) await reserveRange(syscalls, file.fd, { start: 0, end: size });
      }),
    extend: (path, sizeBytes, { reserve }) =>
      withFile(path, constants.O_RDWR, async (file) => {
        const before = (await file.stat()).size;
        if (before >= sizeBytes) return;
        if (reserve) await reserveBeyond(syscalls, file, { before, sizeBytes });
        await file.truncate(sizeBytes);
      }),
    inspect: (path) =>
      withFile(path, constants.O_RDONLY, async (file) => {
        const { bytesRead, buffer } = await file.read(Buffer.alloc(HEADER_BYTES), 0, HEADER_BYTES, 0);
        return parseImageContent(buffer.subarray(0, bytesRead));
      }),
  };
}

async function withFile<T>(path: string, flags: number, act: (file: FileHandle) => Promise<T>): Promise<T> {
  try {
    const file = await open(path, flags | constants.O_NOFOLLOW, IMAGE_MODE);
    try {
      return await act(file);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw fromNodeError(error, "image", path);
  }
}

/**
 * btrfs would write to other places than those that are reserved, and run out of them. It alone knows the attribute; where
 * it cannot be set, nothing is lost by that.
 */
async function writeInPlace(syscalls: ImageSyscalls, fd: number): Promise<void> {
  const flags = Buffer.alloc(8);
  try {
    await syscalls.ioctl(fd, FS_IOC_GETFLAGS, flags);
    flags.writeUInt32LE((flags.readUInt32LE() | FS_NOCOW_FL) >>> 0);
    await syscalls.ioctl(fd, FS_IOC_SETFLAGS, flags);
  } catch {
    // Another file system.
  }
}

/** FICLONE of a whole file is atomic: the kernel holds both files' locks, and has written out what it cached before. */
async function shareOrRemove(
  syscalls: ImageSyscalls,
  from: number,
  to: { readonly fd: number; readonly path: string },
): Promise<void> {
  try {
    await syscalls.shareContent(from, to.fd);
  } catch (error) {
    await unlink(to.path).catch((cleanup) => withCleanupFailure(error, cleanup));
    if (!(error instanceof TrivetError) || !/E(OPNOTSUPP|NOTTY|NOSYS|INVAL|XDEV)$/.test(error.message))
      throw error;
    const message = `the file system of ${to.path} cannot share content between files`;
    throw new TrivetError({
      kind: "unsupported",
      op: "image.share",
      subject: to.path,
      message,
      cause: error,
    });
  }
}

/** At once, or in pieces where that fails: XFS counts what the range has already as if it were needed once more. */
async function reserveRange(
  { allocate }: ImageSyscalls,
  fd: number,
  { start, end }: { readonly start: number; readonly end: number },
): Promise<void> {
  try {
    await allocate(fd, start, end - start);
  } catch (error) {
    if (!isKind(error, "exhausted")) throw error;
    for (let at = start; at < end; at += PIECE_BYTES) await allocate(fd, at, Math.min(PIECE_BYTES, end - at));
  }
}

interface Extension {
  readonly before: number;
  readonly sizeBytes: number;
}

/** What was reserved beyond the end before the disk was full is given back: nobody would ever use it. */
async function reserveBeyond(
  syscalls: ImageSyscalls,
  file: FileHandle,
  { before, sizeBytes }: Extension,
): Promise<void> {
  try {
    await reserveRange(syscalls, file.fd, { start: before, end: sizeBytes });
  } catch (error) {
    await file.truncate(before).catch((cleanup) => withCleanupFailure(error, cleanup));
    throw error;
  }
}
