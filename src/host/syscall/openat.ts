/**
 * Names below an open directory, one step at a time: openat2(2), getdents64(2), readlinkat(2), mknodat(2) and
 * utimensat(2). Names are bytes, as the kernel has them. Must not decide what is opened, nor follow anything.
 */
import type { LibraryHandle } from "koffi";
import { TrivetError } from "../../errors.ts";
import { asynchronous, checked, requireInteger } from "./call.ts";

/** One entry of a directory. */
export interface DirectoryEntry {
  /** Without a NUL at the end. */
  readonly name: Buffer;
  /** Where reading goes on behind this entry: for `seekDirectory`, also on another descriptor of the directory. */
  readonly next: bigint;
  /** `DT_*`, a hint: 0 where the file system does not tell, and another thing may have the name by now. */
  readonly type: number;
}

/** Nanoseconds since the epoch. */
export interface FileTimes {
  readonly atimeNs: bigint;
  readonly mtimeNs: bigint;
}

/** What can block runs on koffi's pool. */
export interface OpenatCalls {
  /** openat2(2) of one name; `resolve` is a set of RESOLVE_*. Gives a descriptor that other programs do not inherit. */
  openBelow(directory: number, name: Uint8Array, flags: number, resolve: number): Promise<number>;
  /** getdents64(2): some entries, `.` and `..` left out; null at the end. */
  readDirectory(fd: number): Promise<readonly DirectoryEntry[] | null>;
  /** lseek(2) on a directory, to a place that an entry named. */
  seekDirectory(fd: number, place: bigint): void;
  /** readlinkat(2) of the link that was opened with O_PATH. */
  readLinkOf(fd: number): Promise<Buffer>;
  /** mknodat(2); `mode` holds the kind of node. */
  makeNode(directory: number, name: Uint8Array, mode: number, device: bigint): Promise<void>;
  /** futimens(3). */
  setTimes(fd: number, times: FileTimes): Promise<void>;
  /** utimensat(2) of one name, which is not followed. */
  setTimesBelow(directory: number, name: Uint8Array, times: FileTimes): Promise<void>;
}

/** RESOLVE_* of linux/openat2.h. */
export const resolveFlags = { noXdev: 0x01, noMagicLinks: 0x02, noSymlinks: 0x04, beneath: 0x08 } as const;

const SYS_OPENAT2 = 437;
/** getdents64 has a number of its own on each processor; glibc wraps it from 2.30 on. */
const DIRECTORY_BUFFER_BYTES = 32 * 1024;
/** sizeof(struct open_how). */
const OPEN_HOW_BYTES = 24;
const O_CLOEXEC = 0o2000000;
const AT_SYMLINK_NOFOLLOW = 0x100;
const SEEK_SET = 0;
/** PATH_MAX: no link holds more. */
const LINK_BUFFER_BYTES = 4096;
/** Offsets in struct linux_dirent64. */
const [D_OFF, D_RECLEN, D_TYPE, D_NAME] = [8, 16, 18, 19];
const NS_PER_S = 1_000_000_000n;

/** `bytes` as C has it; `invalid` for a name that C would end early. */
export function cString(op: string, bytes: Uint8Array): Buffer {
  if (bytes instanceof Uint8Array && !bytes.includes(0)) return Buffer.concat([bytes, Buffer.alloc(1)]);
  throw new TrivetError({ kind: "invalid", op, subject: "name", message: `${op}: a name holds a NUL byte` });
}

/** A name for a message: bytes that are no UTF-8 show as replacement characters. */
export function showName(name: Uint8Array): string {
  return Buffer.from(name).toString();
}

/** Binds the calls. */
export function createOpenatCalls(libc: LibraryHandle): OpenatCalls {
  return { ...bindReading(libc), ...bindMaking(libc) };
}

function bindReading(libc: LibraryHandle) {
  const openat2 = asynchronous(
    libc.func("syscall", "long", ["long", "int", "const uint8_t *", "const uint8_t *", "size_t"]),
    "openat2",
  );
  const getdents = asynchronous(
    libc.func("long getdents64(int fd, _Out_ uint8_t *entries, size_t length)"),
    "getdents64",
  );
  const lseek = libc.func("int64 lseek(int fd, int64 offset, int whence)");
  const readlinkat = asynchronous(
    libc.func("long readlinkat(int fd, const uint8_t *path, _Out_ uint8_t *buffer, size_t length)"),
    "readlinkat",
  );
  return {
    openBelow(directory: number, name: Uint8Array, flags: number, resolve: number) {
      requireInteger("openat2", { directory, flags, resolve });
      const how = Buffer.alloc(OPEN_HOW_BYTES);
      const fields = [BigInt(flags | O_CLOEXEC), 0n, BigInt(resolve)];
      new BigUint64Array(how.buffer, how.byteOffset, fields.length).set(fields);
      return openat2(showName(name), SYS_OPENAT2, directory, cString("openat2", name), how, OPEN_HOW_BYTES);
    },
    async readDirectory(fd: number) {
      requireInteger("getdents64", { fd });
      const buffer = Buffer.alloc(DIRECTORY_BUFFER_BYTES);
      const length = await getdents(`fd ${fd}`, fd, buffer, buffer.length);
      return length === 0 ? null : parseEntries(buffer.subarray(0, length));
    },
    seekDirectory(fd: number, place: bigint) {
      requireInteger("lseek", { fd });
      const result = Number(lseek(fd, BigInt.asIntN(64, place), SEEK_SET));
      checked("lseek", `fd ${fd}`, result < 0 ? -1 : 0);
    },
    async readLinkOf(fd: number) {
      requireInteger("readlinkat", { fd });
      const buffer = Buffer.alloc(LINK_BUFFER_BYTES);
      const length = await readlinkat(`fd ${fd}`, fd, Buffer.alloc(1), buffer, buffer.length);
      return buffer.subarray(0, length);
    },
  };
}

function bindMaking(libc: LibraryHandle) {
  const mknodat = asynchronous(
    libc.func("int mknodat(int fd, const uint8_t *name, uint mode, uint64 device)"),
    "mknodat",
  );
  const futimens = asynchronous(libc.func("int futimens(int fd, const uint8_t *times)"), "futimens");
  const utimensat = asynchronous(
    libc.func("int utimensat(int fd, const uint8_t *name, const uint8_t *times, int flags)"),
    "utimensat",
  );
  return {
    async makeNode(directory: number, name: Uint8Array, mode: number, device: bigint) {
      requireInteger("mknodat", { directory, mode });
      await mknodat(showName(name), directory, cString("mknodat", name), mode, BigInt.asUintN(64, device));
    },
    async setTimes(fd: number, times: FileTimes) {
      requireInteger("futimens", { fd });
      await futimens(`fd ${fd}`, fd, encodeTimes(times));
    },
    async setTimesBelow(directory: number, name: Uint8Array, times: FileTimes) {
      requireInteger("utimensat", { directory });
      const path = cString("utimensat", name);
      await utimensat(showName(name), directory, path, encodeTimes(times), AT_SYMLINK_NOFOLLOW);
    },
  };
}

/** Two struct timespec, access before modification. Nanoseconds are counted upwards, before 1970 too. */
function encodeTimes({ atimeNs, mtimeNs }: FileTimes): Buffer {
  const buffer = Buffer.alloc(4 * 8);
  const fields = [atimeNs, mtimeNs].flatMap((ns) => {
    const rest = ((ns % NS_PER_S) + NS_PER_S) % NS_PER_S;
    return [(ns - rest) / NS_PER_S, rest];
  });
  new BigInt64Array(buffer.buffer, buffer.byteOffset, fields.length).set(fields);
  return buffer;
}

function parseEntries(buffer: Buffer): DirectoryEntry[] {
  const entries: DirectoryEntry[] = [];
  for (let at = 0; at < buffer.length; ) {
    const record = buffer.subarray(at, at + buffer.readUInt16LE(at + D_RECLEN));
    const name = record.subarray(D_NAME, record.indexOf(0, D_NAME));
    const isItself = name.length <= 2 && name.every((byte) => byte === 0x2e);
    // A copy: the whole buffer must not stay for as long as one name does.
    if (!isItself) {
      entries.push({
        name: Buffer.from(name),
        next: record.readBigInt64LE(D_OFF),
        type: record.readUInt8(D_TYPE),
      });
    }
    at += record.length;
  }
  return entries;
}
