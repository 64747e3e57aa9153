/**
 * The content of one file: shared where the file system can (one moment, no space), else copied within the kernel,
 * holes left out. What is written goes to the disk as the copy proceeds, so that the sync at the end is short.
 */
import type { BigIntStats } from "node:fs";
import type { Extent } from "../syscall/copy.ts";
import { errnoOf, fstat, ftruncate, read, unless, write } from "./descriptor.ts";
import type { CopyJob } from "./job.ts";

/** Some milliseconds of work: between two chunks a copy can be given up. */
const CHUNK_BYTES = 8 * 2 ** 20;
/** Written and not yet on the disk, at most. */
const MAX_BEHIND_BYTES = 4 * CHUNK_BYTES;
const BUFFER_BYTES = 2 ** 20;
/** st_blocks counts these, whatever the blocks of the file system (stat(2)). */
const STAT_BLOCK_BYTES = 512n;
/** The file system, or this pair of files, cannot share. */
const cannotShare = ["EOPNOTSUPP", "ENOTTY", "ENOSYS", "EXDEV", "EINVAL", "ETXTBSY", "EPERM"];
/** Those that will be the same for every other file. */
const cannotShareAny = ["EOPNOTSUPP", "ENOTTY", "ENOSYS"];
const cannotCopyRange = ["EXDEV", "EINVAL", "ENOSYS", "EOPNOTSUPP", "ETXTBSY", "EPERM"];

/** `to` is empty. Copies what `from` held when `stat` was taken; what was cut off meanwhile is left out. */
export async function copyContent(job: CopyJob, from: number, to: number, stat: BigIntStats): Promise<void> {
  const size = Number(stat.size);
  if (size === 0) return;
  if (await shared(job, from, to)) {
    job.progress({ bytes: size });
    return;
  }
  await ftruncate(to, size);
  const isSparse = stat.blocks * STAT_BLOCK_BYTES < stat.size;
  if (isSparse) await copyData(job, from, to, size);
  else await copyExtent(job, from, to, { offset: 0, length: size });
  const left = Number((await fstat(from)).size);
  if (left < size) await ftruncate(to, left);
}

async function shared(job: CopyJob, from: number, to: number): Promise<boolean> {
  if (!job.canShare) return false;
  try {
    await job.syscalls.shareContent(from, to);
    return true;
  } catch (error) {
    const errno = errnoOf(error);
    if (!cannotShare.includes(errno)) throw error;
    if (cannotShareAny.includes(errno)) job.canShare = false;
    return false;
  }
}

/** Extent after extent: a hole stays one. */
async function copyData(job: CopyJob, from: number, to: number, size: number): Promise<void> {
  const { nextData, nextHole } = job.syscalls;
  let at = await nextData(from, 0);
  while (at !== undefined && at < size) {
    // The file may have lost this extent since: then there is nothing more behind it, or the next round tells.
    const hole = await unless(["ENXIO"], nextHole(from, at));
    if (hole === undefined) return;
    const end = Math.min(hole, size);
    await copyExtent(job, from, to, { offset: at, length: end - at });
    at = await nextData(from, end);
  }
}

async function copyExtent(job: CopyJob, from: number, to: number, extent: Extent): Promise<void> {
  const end = extent.offset + extent.length;
  for (let at = extent.offset; at < end; ) {
    job.check();
    const length = Math.min(CHUNK_BYTES, end - at);
    const offset = at;
    const copied = await job.slots.run(() => copyChunk(job, from, to, { offset, length }));
    if (copied === 0) return; // the file has been cut off here
    at += copied;
    job.progress({ bytes: copied });
    if (at - extent.offset >= CHUNK_BYTES) await writeOut(job, to, extent.offset, { offset, length: copied });
  }
}

/** Begins to write the newest chunk out, and waits for one that was begun some chunks ago. */
async function writeOut(
  { syscalls, slots }: CopyJob,
  fd: number,
  start: number,
  chunk: Extent,
): Promise<void> {
  await slots.run(() => syscalls.writeOut(fd, chunk, false));
  const old = chunk.offset - MAX_BEHIND_BYTES;
  if (old >= start) await slots.run(() => syscalls.writeOut(fd, { offset: old, length: CHUNK_BYTES }, true));
}

async function copyChunk(job: CopyJob, from: number, to: number, chunk: Extent): Promise<number> {
  if (job.canCopyRange) {
    const copied = await unless(cannotCopyRange, job.syscalls.copyRange(from, to, chunk));
    if (copied !== undefined) return copied;
    job.canCopyRange = false;
  }
  const buffer = Buffer.alloc(Math.min(BUFFER_BYTES, chunk.length));
  const count = await read(from, buffer, chunk.offset);
  await write(to, buffer.subarray(0, count), chunk.offset);
  return count;
}
