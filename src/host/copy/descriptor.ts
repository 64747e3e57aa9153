/**
 * Node's file calls on plain descriptors and on names below an open directory. Descriptors, and not file handles, since
 * half of them come from system calls that Node lacks. Names are bytes.
 */
import * as fs from "node:fs";
import { promisify } from "node:util";
import { TrivetError } from "../../errors.ts";

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_NOATIME, O_NONBLOCK, O_RDWR, O_CREAT, O_EXCL } = fs.constants;
/** Linux: a descriptor that only names something, and has no effect on what it names. Not in Node's table. */
export const O_PATH = 0o10000000;
/** How a directory is opened for reading. */
export const READ_DIRECTORY = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NOATIME;
/** How what an O_PATH descriptor holds is opened for reading; it is known to be a file by then. */
export const READ_FILE = O_RDONLY | O_NOATIME | O_NONBLOCK;
/** How a file of the copy is made: nobody else can read it before it has its own mode. */
export const MAKE_FILE = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW;
/** Root's, until the copy has its own mode. */
export const PRIVATE_FILE = 0o600;
/** The same for directories. */
export const PRIVATE_DIRECTORY = 0o700;

/** open(2); gives a descriptor. */
export const open = promisify(fs.open);
/** close(2). */
export const close = promisify(fs.close);
/** fsync(2). */
export const fsync = promisify(fs.fsync);
/** chmod(2), which follows: only for names that nobody else can change. */
export const chmod = promisify(fs.chmod);
/** fchmod(2). */
export const fchmod = promisify(fs.fchmod);
/** fchown(2). */
export const fchown = promisify(fs.fchown);
/** lchown(2). */
export const lchown = promisify(fs.lchown);
/** ftruncate(2). */
export const ftruncate = promisify(fs.ftruncate);
/** link(2), which does not follow. */
export const link = promisify(fs.link);
/** symlink(2). */
export const symlink = promisify(fs.symlink);

/** mkdir(2) with a mode that the umask cannot widen. */
export const mkdir: (path: fs.PathLike, mode: number) => Promise<void> = promisify(fs.mkdir);

/** fstat(2), with times to the nanosecond. */
export function fstat(fd: number): Promise<fs.BigIntStats> {
  return new Promise((resolve, reject) => {
    fs.fstat(fd, { bigint: true }, (error, stats) => (error ? reject(error) : resolve(stats)));
  });
}

/** pread(2) into `buffer`; gives the number of bytes. */
export function read(fd: number, buffer: Uint8Array, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.read(fd, buffer, 0, buffer.length, position, (error, count) =>
      error ? reject(error) : resolve(count),
    );
  });
}

/** pwrite(2) of all of `data`. */
export async function write(fd: number, data: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < data.length; ) {
    done += await new Promise<number>((resolve, reject) => {
      fs.write(fd, data, done, data.length - done, position + done, (error, count) =>
        error ? reject(error) : resolve(count),
      );
    });
  }
}

/** What is open, as a path that means it whatever its names have become. */
export function own(fd: number): string {
  return `/proc/self/fd/${fd}`;
}

/** A name in an open directory, as a path that no rename of that directory changes. */
export function below(directory: number, name: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${own(directory)}/`), name]);
}

/** `ENOENT` and so on, whoever threw it; empty for what carries no errno. */
export function errnoOf(error: unknown): string {
  if (error instanceof TrivetError) return /: (E[A-Z0-9]+)$/.exec(error.message)?.[1] ?? "";
  return (error as NodeJS.ErrnoException).code ?? "";
}

/** `effect`, or undefined where it failed with one of these. */
export async function unless<T>(names: readonly string[], effect: Promise<T>): Promise<T | undefined> {
  try {
    return await effect;
  } catch (error) {
    if (names.includes(errnoOf(error))) return undefined;
    throw error;
  }
}
