/**
 * Reads /proc/self/mountinfo, in the thread pool: who mounts and unmounts elsewhere holds a lock for tens of milliseconds at
 * times, and the event loop is not to wait for it. The kernel gives the text in pieces of a page, so that a large table takes
 * many trips; calls that come while one read is on share the next.
 */
import { open, read as readCallback } from "node:fs";
import { promisify } from "node:util";

/** A plain descriptor: a file handle would be closed, with a warning, when nobody holds the reader any more. */
const openPlain = promisify(open);
const FIRST_BYTES = 64 * 1_024;

/** Opens the file at the first call. It shows the mount namespace of the process that opened it. */
export function createMountInfoReader(path: string): () => Promise<string> {
  let fd: number | undefined;
  let buffer = Buffer.allocUnsafe(FIRST_BYTES);
  const readAll = async (): Promise<string> => {
    fd ??= await openPlain(path, "r");
    let length = 0;
    for (;;) {
      if (length === buffer.length) buffer = Buffer.concat([buffer], 2 * buffer.length);
      const bytes = await readAt(fd, buffer, length);
      if (bytes === 0) return buffer.toString("utf8", 0, length);
      length += bytes;
    }
  };
  return createShared(readAll);
}

/** Without the promises of a file handle: they take as long as the read itself. */
function readAt(fd: number, buffer: Buffer, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    readCallback(fd, buffer, position, buffer.length - position, position, (error, bytes) => {
      if (error) reject(error);
      else resolve(bytes);
    });
  });
}

/**
 * One run at a time. Whoever asks gets a run that began after the question: what was done before it is seen.
 */
function createShared<T>(run: () => Promise<T>): () => Promise<T> {
  let running: Promise<unknown> | undefined;
  let next: Promise<T> | undefined;
  const start = (): Promise<T> => {
    const started = run();
    const ended = () => {
      if (running === settled) running = undefined;
    };
    const settled: Promise<unknown> = started.then(ended, ended);
    running = settled;
    return started;
  };
  return () => {
    if (!running) return start();
    next ??= running.then(() => {
      next = undefined;
      return start();
    });
    return next;
  };
}
