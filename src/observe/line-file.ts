/**
 * Lines appended to a file or to stdout. Nobody waits for a write, and what comes soon after goes along with it. A
 * full disk or a reader that is gone costs lines, never memory, and never the process: what cannot be written is
 * dropped, and the log says so once.
 */
import { fromNodeError } from "../host/errno.ts";
import { AppendedFile, type Rotation, writeAll } from "./appended-file.ts";
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
  /** Without it the file grows on until somebody else puts it aside. */
  readonly rotation?: Rotation;
  readonly log: Log;
  /** Told of each line that is dropped, at once. */
  readonly onLost?: (lines: number) => void;
}

const STDOUT = 1;
/** What may wait for a slow disk, in bytes of text: some ten thousand records. */
const MAX_PENDING = 4 << 20;
/** A line waits so long for others: a write costs as much of a processor as ten lines do. */
const GATHER_MS = 20;
/** So much waits no longer. */
const GATHER_SIZE = 64 << 10;

interface Destination {
  write(data: Buffer): Promise<void>;
  close(): Promise<void>;
}

class QueuedLines implements LineFile {
  readonly #destination: Destination;
  readonly #target: string;
  readonly #log: Log;
  #pending: string[] = [];
  #pendingSize = 0;
  #writing: Promise<void> | undefined;
  /** Ends the wait for more lines. */
  #hurry: (() => void) | undefined;
  #closing = false;
  #failing = false;
  #lost = 0;
  readonly #onLost: ((lines: number) => void) | undefined;

  constructor(destination: Destination, { target, log, onLost }: LineFileOptions) {
    this.#destination = destination;
    this.#target = target;
    this.#log = log;
    this.#onLost = onLost;
  }

  write(line: string): void {
    if (this.#pendingSize + line.length > MAX_PENDING) {
      this.#lose(1);
      return;
    }
    this.#pending.push(line);
    this.#pendingSize += line.length;
    this.#writing ??= this.#writePending();
    if (this.#pendingSize >= GATHER_SIZE) this.#hurry?.();
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#hurry?.();
    await this.#writing;
    if (this.#lost > 0) this.#log.warn("lines were lost", { target: this.#target, lost: this.#lost });
    await this.#destination.close();
  }

  async #writePending(): Promise<void> {
    while (this.#pending.length > 0) {
      await this.#gather();
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

  #gather(): Promise<void> {
    if (this.#closing || this.#pendingSize >= GATHER_SIZE) return Promise.resolve();
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#hurry = undefined;
        resolve();
      };
      const timer = setTimeout(end, GATHER_MS);
      this.#hurry = end;
    });
  }

  #lose(lines: number): void {
    this.#lost += lines;
    if (lines > 0) this.#onLost?.(lines);
  }

  reportFailure(error: unknown, lines: number): void {
    this.#lose(lines);
    if (this.#failing) return;
    this.#failing = true;
    const { message } = fromNodeError(error, "lines.write", this.#target);
    this.#log.error("lines cannot be written: they are dropped until they can", { error: message });
  }

  #reportSuccess(): void {
    this.#failing = false;
    if (this.#lost === 0) return;
    this.#log.warn("lines are written again, some were lost", { target: this.#target, lost: this.#lost });
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
  const { target: path, mode, rotation, log } = options;
  const file = new AppendedFile({ path, mode, log, ...(rotation && { rotation }) });
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
