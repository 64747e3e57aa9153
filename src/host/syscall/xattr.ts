/** Extended attributes. Paths are bytes and are followed, so that `/proc/self/fd/N` means what is open there. */
import type { LibraryHandle } from "koffi";
import { TrivetError } from "../../errors.ts";
import { asynchronous } from "./call.ts";
import { cString, showName } from "./openat.ts";

/** All of them may read the disk. */
export interface XattrCalls {
  /** listxattr(2): the names that there are. */
  listXattrs(path: Uint8Array): Promise<readonly string[]>;
  /** getxattr(2). */
  getXattr(path: Uint8Array, name: string): Promise<Buffer>;
  /** setxattr(2), whether there is one of this name or not. */
  setXattr(path: Uint8Array, name: string, value: Uint8Array): Promise<void>;
}

/** XATTR_LIST_MAX and XATTR_SIZE_MAX: none can be longer. */
const MAX_BYTES = 65_536;
/** Enough for what is usual, asked in one call. */
const FIRST_BYTES = 1024;

type Read = (buffer: Buffer) => Promise<number>;

/** Binds the calls. */
export function createXattrCalls(libc: LibraryHandle): XattrCalls {
  const list = asynchronous(
    libc.func("long listxattr(const uint8_t *path, _Out_ uint8_t *list, size_t size)"),
    "listxattr",
  );
  const get = asynchronous(
    libc.func("long getxattr(const uint8_t *path, const uint8_t *name, _Out_ uint8_t *value, size_t size)"),
    "getxattr",
  );
  const set = asynchronous(
    libc.func(
      "int setxattr(const uint8_t *path, const uint8_t *name, const uint8_t *value, size_t size, int flags)",
    ),
    "setxattr",
  );
  return {
    async listXattrs(path) {
      const cPath = cString("listxattr", path);
      const names = await readAll((buffer) => list(showName(path), cPath, buffer, buffer.length));
      return names.toString("latin1").split("\0").filter(Boolean);
    },
    getXattr(path, name) {
      const [cPath, cName] = [cString("getxattr", path), cString("getxattr", Buffer.from(name, "latin1"))];
      return readAll((buffer) => get(showName(path), cPath, cName, buffer, buffer.length));
    },
    async setXattr(path, name, value) {
      const [cPath, cName] = [cString("setxattr", path), cString("setxattr", Buffer.from(name, "latin1"))];
      // An empty value is one too; koffi wants bytes to point at.
      const bytes = value.length === 0 ? Buffer.alloc(1) : value;
      await set(showName(path), cPath, cName, bytes, value.length, 0);
    },
  };
}

/** ERANGE says that the buffer is too small; the value may grow between two tries, so the second gets the most. */
async function readAll(read: Read): Promise<Buffer> {
  const small = Buffer.alloc(FIRST_BYTES);
  const length = await read(small).catch((error: unknown) => {
    if (error instanceof TrivetError && error.message.endsWith("ERANGE")) return undefined;
    throw error;
  });
  if (length !== undefined) return small.subarray(0, length);
  const large = Buffer.alloc(MAX_BYTES);
  return large.subarray(0, await read(large));
}
