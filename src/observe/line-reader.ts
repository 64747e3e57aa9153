/**
 * Reads the lines of a file that is rotated by `line-file.ts`, oldest first, and follows it through later rotations. A reader
 * in between sees each line once: it holds the files open and knows them by their inodes.
 */
import { type FileHandle, open, stat } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { rotatedPath, LOOK_EVERY_MS as WRITER_LOOKS_EVERY_MS } from "./appended-file.ts";

export interface ReadLinesOptions {
  /** Goes on at the end, until `signal`. */
  readonly follow?: boolean;
  /** Files that were last written to before are passed over. */
  readonly sinceMs?: number;
  readonly signal?: AbortSignal;
}

/** Gaps are closed by the writer; more files than this nobody keeps. */
const MAX_AGE = 1_000;
const CHUNK_BYTES = 1 << 18;
/** What has no end within this is no record. */
const MAX_LINE_BYTES = 4 << 20;
const LOOK_EVERY_MS = 200;
/** A second writer, such as a process that hands over, sees only so much later that the file was put aside. */
const LATE_WRITES_MS = WRITER_LOOKS_EVERY_MS + 200;
const NEWLINE = 10;

/**
 * Whole lines without their newlines, some at a time; none, once, when a reader that follows has come to the end of what was
 * there. Throws ENOENT and its like where there is no file at `path`.
 */
export async function* readLines(path: string, options: ReadLinesOptions = {}): AsyncGenerator<string[]> {
  const files = await openAll(path, options.sinceMs);
  let caughtUp = false;
  try {
    for (let file = files.shift(); file; file = files.shift()) {
      // All but the last are complete; the last one may be put aside while we read it.
      const last = files.length === 0;
      yield* file.read();
      if (last && options.follow) {
        if (!caughtUp) yield [];
        caughtUp = true;
        const successors = await waitForMore(path, file, options.signal);
        if (successors === undefined) return;
        // It has grown, or others have come behind it; what was written to it before that is read first.
        files.push(file, ...successors);
        continue;
      }
      await file.close();
    }
  } finally {
    await Promise.all(files.map((file) => file.close()));
  }
}

/** The present file and those put aside, oldest first. A rotation meanwhile shows a file twice, never none. */
async function openAll(path: string, sinceMs = 0): Promise<OpenFile[]> {
  const newestFirst = [await OpenFile.open(path)];
  for (let age = 1; age <= MAX_AGE; age += 1) {
    const file = await OpenFile.open(rotatedPath(path, age)).catch(() => undefined);
    if (!file) break;
    const tooOld = file.mtimeMs < sinceMs;
    if (tooOld || newestFirst.some(({ inode }) => inode === file.inode)) await file.close();
    else newestFirst.push(file);
    if (tooOld) break;
  }
  return newestFirst.reverse();
}

/** Undefined when told to stop; the files that came behind, when there are some; none when the file has grown. */
async function waitForMore(
  path: string,
  file: OpenFile,
  signal: AbortSignal | undefined,
): Promise<OpenFile[] | undefined> {
  while (!signal?.aborted) {
    if (await file.hasMore()) return [];
    const present = await stat(path).catch(() => undefined);
    if (present && present.ino !== file.inode) {
      await pause(LATE_WRITES_MS, signal);
      return openBehind(path, file.inode);
    }
    await pause(LOOK_EVERY_MS, signal);
  }
  await file.close();
  return undefined;
}

const pause = (ms: number, signal: AbortSignal | undefined) =>
  delay(ms, undefined, signal ? { signal } : {}).catch(() => undefined);

/** The files that are younger than the one with this inode, oldest first. */
async function openBehind(path: string, inode: number): Promise<OpenFile[]> {
  const younger: OpenFile[] = [];
  for (let age = 0; age <= MAX_AGE; age += 1) {
    const file = await OpenFile.open(age === 0 ? path : rotatedPath(path, age)).catch(() => undefined);
    if (!file || file.inode === inode) {
      await file?.close();
      // Somebody else put it aside under another name: then there is the present file alone.
      const known = file !== undefined || younger.length <= 1;
      if (!known) await Promise.all(younger.splice(1).map((other) => other.close()));
      break;
    }
    if (younger.some((other) => other.inode === file.inode)) await file.close();
    else younger.push(file);
  }
  return younger.reverse();
}

class OpenFile {
  readonly inode: number;
  readonly mtimeMs: number;
  readonly #handle: FileHandle;
  #offset = 0;
  /** The beginning of a line whose end is not written yet. */
  #rest = Buffer.alloc(0);
  #closed = false;

  private constructor(handle: FileHandle, facts: { inode: number; mtimeMs: number }) {
    this.#handle = handle;
    this.inode = facts.inode;
    this.mtimeMs = facts.mtimeMs;
  }

  static async open(path: string): Promise<OpenFile> {
    const handle = await open(path, "r");
    const { ino, mtimeMs } = await handle.stat();
    return new OpenFile(handle, { inode: ino, mtimeMs });
  }

  async hasMore(): Promise<boolean> {
    const { size } = await this.#handle.stat();
    if (size < this.#offset) {
      // Somebody emptied it.
      this.#offset = 0;
      this.#rest = Buffer.alloc(0);
    }
    return size > this.#offset;
  }

  /** To the present end of the file. */
  async *read(): AsyncGenerator<string[]> {
    const chunk = Buffer.alloc(CHUNK_BYTES);
    for (;;) {
      const { bytesRead } = await this.#handle.read(chunk, 0, CHUNK_BYTES, this.#offset);
      if (bytesRead === 0) return;
      this.#offset += bytesRead;
      const text = Buffer.concat([this.#rest, chunk.subarray(0, bytesRead)]);
      const end = text.lastIndexOf(NEWLINE);
      this.#rest = text.subarray(end + 1);
      if (this.#rest.length > MAX_LINE_BYTES) this.#rest = Buffer.alloc(0);
      if (end >= 0) yield text.toString("utf8", 0, end).split("\n");
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#handle.close();
  }
}
