/**
 * Small files by plain descriptors: Node's file handles cost more than the system calls that they are for, which is most
 * of what a call on a small record takes. So does each trip to the thread pool: none is made that does nothing.
 */
import { closeSync, constants, fchmod, fsync, open, read, write } from "node:fs";
import { promisify } from "node:util";

const openFile = promisify(open);
const readFile = promisify(read);
const writeFile = promisify(write);
const syncFile = promisify(fsync);
const changeMode = promisify(fchmod);

/** Records of volumes and identities of pools fit; what does not is read on. */
const FIRST_READ_BYTES = 4_096;

/** What the process takes from every mode. Nothing here changes it later. */
const umask = process.umask();

/** Whether a name that is made with this mode gets all of it at once. */
export function isWholeMode(mode: number): boolean {
  return (mode & umask) === 0;
}

async function withFile<T>(
  path: string,
  flags: number,
  mode: number,
  use: (fd: number) => Promise<T>,
): Promise<T> {
  const fd = await openFile(path, flags, mode);
  try {
    return await use(fd);
  } finally {
    // At once: a local file that was read, synced or has just been made is given back without asking its disk.
    closeSync(fd);
  }
}

/** The whole content. */
export function readWhole(path: string): Promise<Buffer> {
  return withFile(path, constants.O_RDONLY, 0, async (fd) => {
    const pieces: Buffer[] = [];
    for (let size = FIRST_READ_BYTES; ; size = Math.min(2 * size, 1 << 20)) {
      const { bytesRead, buffer } = await readFile(fd, Buffer.allocUnsafe(size), 0, size, null);
      if (bytesRead > 0) pieces.push(buffer.subarray(0, bytesRead));
      // A regular file gives all that was asked for, unless it ends.
      if (bytesRead < size) return pieces.length === 1 && pieces[0] ? pieces[0] : Buffer.concat(pieces);
    }
  });
}

/** fsync(2) of a file or a directory, never through a link. */
export function syncByPath(path: string): Promise<void> {
  return withFile(path, constants.O_RDONLY | constants.O_NOFOLLOW, 0, syncFile);
}

/** A new file with exactly this mode. What is half-written when it throws is for the caller to remove. */
export function writeNew(path: string, data: Uint8Array, mode: number, onOpen: () => void): Promise<void> {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL;
  return withFile(path, flags, mode, async (fd) => {
    onOpen();
    if (!isWholeMode(mode)) await changeMode(fd, mode);
    for (let done = 0; done < data.length; ) {
      done += (await writeFile(fd, data, done, data.length - done, null)).bytesWritten;
    }
  });
}
