/**
 * Lines appended to a file or to stdout. Nobody waits for a write: what comes meanwhile goes with the next one. A
 * full disk or a reader that is gone costs lines, never memory, and never the process: what cannot be written is
 * dropped, and the log says so once. A file that was rotated away is followed to its new self.
 */
import { write } from "node:fs";
import { type FileHandle, mkdir, open, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { fromNodeError } from "../host/errno.ts";
import type { Log } from "./log.ts";

export interface LineFile {
  /** Takes one line, without its newline. Returns at once and never throws. */
  write(line: string): void;
  /** Resolves when all that was given is written or dropped. */
  close(): Promise<void>;
}

export interface LineFileOptions {
  /** An absolute path, or `-` for stdout. */
  readonly target: string;
  /** Of the file, where it has to be made. */
  readonly mode: number;
  readonly log: Log;
}

const STDOUT = 1;
const NEWLINE = 10;
/** What may wait for a slow disk, in bytes of text: some ten thousand records. */
const MAX_PENDING = 4 << 20;
/** How often the path is looked at: a rotation between two looks goes on for that long in the old file. */
const LOOK_EVERY_MS = 1_000;
const BUSY_PIPE_MS = 10;

const writeTo = promisify(write);

async function writeAll(fd: number, data: Buffer): Promise<void> {
  for (let offset = 0; offset < data.length; ) {
    try {
      offset += (await writeTo(fd, data, offset, data.length - offset)).bytesWritten;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      await delay(BUSY_PIPE_MS);
    }
  }
}

interface Destination {
  write(data: Buffer): Promise<void>;
  close(): Promise<void>;
}

/** The file at a path, whichever file that is by now. After a failure the next write opens it again. */
class AppendedFile implements Destination {
  readonly #path: string;
  readonly #mode: number;
  #handle: FileHandle | undefined;
  #inode = 0;
  #lookAgainMs = 0;

  constructor(path: string, mode: number) {
    this.#path = path;
    this.#mode = mode;
  }

  async open(): Promise<FileHandle> {
    await mkdir(dirname(this.#path), { recursive: true });
    this.#handle = await open(this.#path, "a+", this.#mode);
    const { size, ino } = await this.#handle.stat();
    this.#inode = ino;
    this.#lookAgainMs = performance.now() + LOOK_EVERY_MS;
    // A write that a full disk or a kill cut short left half a line: ours must not continue it.
    const last = Buffer.alloc(1, NEWLINE);
    if (size > 0) await this.#handle.read(last, 0, 1, size - 1);
    if (last[0] !== NEWLINE) await this.#handle.write("\n");
    return this.#handle;
  }

  async write(data: Buffer): Promise<void> {
    try {
      if (await this.#wasRotated()) await this.close();
      const handle = this.#handle ?? (await this.open());
      await writeAll(handle.fd, data);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async #wasRotated(): Promise<boolean> {
    if (!this.#handle || performance.now() < this.#lookAgainMs) return false;
    this.#lookAgainMs = performance.now() + LOOK_EVERY_MS;
    const present = await stat(this.#path).catch(() => undefined);
    return present?.ino !== this.#inode;
  }

  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close().catch(() => undefined);
  }
}

class QueuedLines implements LineFile {
  readonly #destination: Destination;
  readonly #target: string;
  readonly #log: Log;
  #pending: string[] = [];
  #pendingSize = 0;
  #writing: Promise<void> | undefined;
  #failing = false;
  #lost = 0;

  constructor(destination: Destination, { target, log }: LineFileOptions) {
    this.#destination = destination;
    this.#target = target;
    this.#log = log;
  }

  write(line: string): void {
    if (this.#pendingSize + line.length > MAX_PENDING) {
      this.#lost += 1;
      return;
    }
    this.#pending.push(line);
    this.#pendingSize += line.length;
    this.#writing ??= this.#writePending();
  }

  async close(): Promise<void> {
    await this.#writing;
    if (this.#lost > 0) this.#log.warn("lines were lost", { target: this.#target, lost: this.#lost });
    await this.#destination.close();
  }

  async #writePending(): Promise<void> {
    while (this.#pending.length > 0) {
      const lines = this.#pending;
      this.#pending = [];
      this.#pendingSize = 0;
      try {
        await this.#destination.write(Buffer.from(`${lines.join("\n")}\n`));
        this.#reportSuccess();
      } catch (error) {
        this.reportFailure(error, lines.length);
      }
    }
    this.#writing = undefined;
  }

  reportFailure(error: unknown, lines: number): void {
    this.#lost += lines;
    if (this.#failing) return;
    this.#failing = true;
    const { message } = fromNodeError(error, "lines.write", this.#target);
    this.#log.error("lines cannot be written: they are dropped until they can", { error: message });
  }

  #reportSuccess(): void {
    if (this.#lost === 0) return;
    this.#log.warn("lines are written again, some were lost", { target: this.#target, lost: this.#lost });
    this.#failing = false;
    this.#lost = 0;
  }
}

const stdout: Destination = { write: (data) => writeAll(STDOUT, data), close: async () => undefined };

/**
 * Makes the file and its directory where they are missing. Throws where that cannot be, as for a directory without
 * permission; but a disk that is full at the start is waited for, as one that fills up later is.
 */
export async function openLineFile(options: LineFileOptions): Promise<LineFile> {
  if (options.target === "-") return new QueuedLines(stdout, options);
  const file = new AppendedFile(options.target, options.mode);
  const lines = new QueuedLines(file, options);
  try {
    await file.open();
  } catch (error) {
    await file.close();
    const failure = fromNodeError(error, "lines.open", options.target);
    if (failure.kind !== "exhausted") throw failure;
    lines.reportFailure(failure, 0);
  }
  return lines;
}
