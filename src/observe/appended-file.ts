/**
 * A file that is appended to, whichever file is at its path by now: one that was rotated away is followed to its new self, and
 * with a rotation of our own it is put aside when it is full. Nothing that was written is ever removed but the oldest file.
 */
import { write } from "node:fs";
import { type FileHandle, mkdir, open, rename, stat, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { fromNodeError } from "../host/errno.ts";
import type { Log } from "./log.ts";

/** When a file is put aside: as PATH.1, the one before as PATH.2, and so on. */
export interface Rotation {
  /** A file is put aside before it would grow beyond this; one write may be larger by itself. */
  readonly maxBytes: number;
  /** How many files are kept beside the present one. */
  readonly keep: number;
}

export interface AppendedFileOptions {
  readonly path: string;
  /** Where the file has to be made. */
  readonly mode: number;
  readonly rotation?: Rotation;
  readonly log: Log;
}

const NEWLINE = 10;
/** How often the path is looked at: a rotation between two looks goes on for that long in the old file. */
export const LOOK_EVERY_MS = 1_000;
/** A file that cannot be put aside grows on for so long. */
const ROTATE_AGAIN_MS = 60_000;
/** A rotation takes milliseconds: who has claimed it for so long was killed. */
const STALE_CLAIM_MS = 10_000;
const BUSY_PIPE_MS = 10;

const writeTo = promisify(write);

/** Waits for a reader of a pipe that stands still. */
export async function writeAll(fd: number, data: Buffer): Promise<void> {
  for (let offset = 0; offset < data.length; ) {
    try {
      offset += (await writeTo(fd, data, offset, data.length - offset)).bytesWritten;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      await delay(BUSY_PIPE_MS);
    }
  }
}

/** `PATH.1` is the youngest of those put aside. */
export function rotatedPath(path: string, age: number): string {
  return `${path}.${age}`;
}

/** One writer; after a failure the next write opens the file again. */
export class AppendedFile {
  readonly #options: AppendedFileOptions;
  #handle: FileHandle | undefined;
  #inode = 0;
  /** Of the file, as far as we know: another process may append as well, while it hands over to us. */
  #size = 0;
  #regular = false;
  #lookAgainMs = 0;
  #rotateAgainMs = 0;

  constructor(options: AppendedFileOptions) {
    this.#options = options;
  }

  async open(): Promise<FileHandle> {
    const { path, mode } = this.#options;
    await mkdir(dirname(path), { recursive: true });
    this.#handle = await open(path, "a+", mode);
    const facts = await this.#handle.stat();
    this.#inode = facts.ino;
    this.#size = facts.size;
    this.#regular = facts.isFile();
    this.#lookAgainMs = performance.now() + LOOK_EVERY_MS;
    // A write that a full disk or a kill cut short left half a line: ours must not continue it.
    const last = Buffer.alloc(1, NEWLINE);
    if (facts.size > 0) await this.#handle.read(last, 0, 1, facts.size - 1);
    if (last[0] !== NEWLINE) await this.#handle.write("\n");
    return this.#handle;
  }

  async write(data: Buffer): Promise<void> {
    try {
      if (await this.#wasRotated()) await this.close();
      await this.#makeRoom(data.length);
      const handle = this.#handle ?? (await this.open());
      await writeAll(handle.fd, data);
      this.#size += data.length;
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async #wasRotated(): Promise<boolean> {
    if (!this.#handle || performance.now() < this.#lookAgainMs) return false;
    this.#lookAgainMs = performance.now() + LOOK_EVERY_MS;
    return !(await this.#isAtPath());
  }

  async #isAtPath(): Promise<boolean> {
    const present = await stat(this.#options.path).catch(() => undefined);
    if (present?.ino !== this.#inode) return false;
    this.#size = Math.max(this.#size, present.size);
    return true;
  }

  /** Puts a full file aside. What fails here costs room on the disk, never a line. */
  async #makeRoom(bytes: number): Promise<void> {
    const { rotation, path, log } = this.#options;
    if (!rotation) return;
    if (!this.#handle) await this.open();
    const full = this.#regular && this.#size > 0 && this.#size + bytes > rotation.maxBytes;
    if (!full || performance.now() < this.#rotateAgainMs) return;
    try {
      const claim = await claimRotation(path);
      // The other process does it: until then the file grows on.
      if (!claim) return;
      try {
        // It may have done it just now: then the present file is another one, and not full.
        if (await this.#isAtPath()) await shift(path, rotation.keep);
        await this.close();
      } finally {
        await claim.close();
        await unlink(claimPath(path));
      }
    } catch (error) {
      this.#rotateAgainMs = performance.now() + ROTATE_AGAIN_MS;
      const { message } = fromNodeError(error, "lines.rotate", path);
      log.error("a full file cannot be put aside: it grows on", { error: message });
    }
  }

  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close().catch(() => undefined);
  }
}

const claimPath = (path: string): string => `${path}.rotating`;

/**
 * Two processes append to one file while one hands over to the other: only one may rename at a time. Undefined where another
 * one does; what a kill left behind is taken away, for the next time.
 */
async function claimRotation(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(claimPath(path), "wx", 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    const claim = await stat(claimPath(path)).catch(() => undefined);
    const isStale = claim !== undefined && Date.now() - claim.mtimeMs > STALE_CLAIM_MS;
    if (isStale) await unlink(claimPath(path)).catch(() => undefined); // or the other process has done so
    return undefined;
  }
}

/**
 * From the oldest to the youngest, each by one rename: a kill on the way leaves a gap in the numbers, which the next rotation
 * closes, and no file that another one has replaced.
 */
async function shift(path: string, keep: number): Promise<void> {
  const present: number[] = [];
  for (let age = 1; age < keep; age += 1) {
    const found = await stat(rotatedPath(path, age)).catch(() => undefined);
    // What stands behind a gap stays where it is.
    if (!found) break;
    present.push(age);
  }
  for (const age of present.reverse()) await rename(rotatedPath(path, age), rotatedPath(path, age + 1));
  await rename(path, rotatedPath(path, 1));
}
