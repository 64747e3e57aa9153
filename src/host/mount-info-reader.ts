/**
 * Reads /proc/self/mountinfo. Synchronously, on a descriptor that stays open: the kernel makes the text up from memory and
 * gives it in pieces of a page, so that a table of a thousand mounts would take thirty trips to the thread pool.
 */
import { openSync, readSync } from "node:fs";

const FIRST_BYTES = 64 * 1_024;

/** Opens the file at the first call. It shows the mount namespace of the process that opened it. */
export function createMountInfoReader(path: string): () => string {
  let fd: number | undefined;
  let buffer = Buffer.allocUnsafe(FIRST_BYTES);
  return () => {
    fd ??= openSync(path, "r");
    let length = 0;
    for (;;) {
      if (length === buffer.length) buffer = Buffer.concat([buffer], 2 * buffer.length);
      const read = readSync(fd, buffer, length, buffer.length - length, length);
      if (read === 0) return buffer.toString("utf8", 0, length);
      length += read;
    }
  };
}
