/** Content of files: sharing it (FICLONE), copying it within the kernel, finding holes, and writing it out in time. */
import type { LibraryHandle } from "koffi";
import { TrivetError } from "../../errors.ts";
import { asynchronous, requireInteger } from "./call.ts";

/** A stretch of a file, in bytes. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
}

/** All of them wait for the disk, so they run on koffi's pool. */
export interface CopyCalls {
  /** FICLONE: `to` shares the whole content of `from`. `unsupported` or `io` (EXDEV, EINVAL) where that cannot be. */
  shareContent(from: number, to: number): Promise<void>;
  /** copy_file_range(2), at the same place in both files; gives the number of bytes, 0 at the end of the file. */
  copyRange(from: number, to: number, extent: Extent): Promise<number>;
  /** SEEK_DATA: the first byte of data at or behind `offset`; undefined where there is only a hole left. */
  nextData(fd: number, offset: number): Promise<number | undefined>;
  /** SEEK_HOLE: the end of the data at `offset`; the end of the file is one. */
  nextHole(fd: number, offset: number): Promise<number>;
  /** sync_file_range(2): begins to write the stretch out; with `wait`, returns when that is done. */
  writeOut(fd: number, extent: Extent, wait: boolean): Promise<void>;
}

const FICLONE = 0x40049409;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const ENXIO = "ENXIO";
/** SYNC_FILE_RANGE_WAIT_BEFORE, _WRITE and _WAIT_AFTER. */
const [WAIT_BEFORE, WRITE, WAIT_AFTER] = [1, 2, 4];

/** Throws `bug` for anything but a place in a file: koffi would cut it. */
function requireSize(op: string, values: object): void {
  for (const [name, value] of Object.entries(values)) {
    if (Number.isSafeInteger(value) && Number(value) >= 0) continue;
    throw new TrivetError({ kind: "bug", op, subject: name, message: `${op}: ${name} is no size: ${value}` });
  }
}

/** Binds the calls. */
export function createCopyCalls(libc: LibraryHandle): CopyCalls {
  const ioctl = asynchronous(libc.func("int ioctl(int fd, ulong request, int source)"), "ficlone");
  const copyFileRange = asynchronous(
    libc.func(
      "long copy_file_range(int from, _Inout_ int64 *fromAt, int to, _Inout_ int64 *toAt, size_t length, uint flags)",
    ),
    "copy_file_range",
  );
  const lseek = asynchronous(libc.func("int64 lseek(int fd, int64 offset, int whence)"), "lseek");
  const syncFileRange = asynchronous(
    libc.func("int sync_file_range(int fd, int64 offset, int64 length, uint flags)"),
    "sync_file_range",
  );
  return {
    async shareContent(from, to) {
      requireInteger("ficlone", { from, to });
      await ioctl(`fd ${to}`, to, FICLONE, from);
    },
    copyRange(from, to, { offset, length }) {
      requireInteger("copy_file_range", { from, to });
      requireSize("copy_file_range", { offset, length });
      return copyFileRange(`fd ${to}`, from, [offset], to, [offset], length, 0);
    },
    async nextData(fd, offset) {
      requireInteger("lseek", { fd });
      requireSize("lseek", { offset });
      try {
        return Number(await lseek(`fd ${fd}`, fd, offset, SEEK_DATA));
      } catch (error) {
        if (error instanceof TrivetError && error.message.endsWith(ENXIO)) return undefined;
        throw error;
      }
    },
    async nextHole(fd, offset) {
      requireInteger("lseek", { fd });
      requireSize("lseek", { offset });
      return Number(await lseek(`fd ${fd}`, fd, offset, SEEK_HOLE));
    },
    async writeOut(fd, { offset, length }, wait) {
      requireInteger("sync_file_range", { fd });
      requireSize("sync_file_range", { offset, length });
      const flags = wait ? WAIT_BEFORE | WRITE | WAIT_AFTER : WRITE;
      await syncFileRange(`fd ${fd}`, fd, offset, length, flags);
    },
  };
}
