/**
 * The system calls that Node lacks, through koffi; no other file knows koffi. koffi checks nothing, so every
 * number and string is validated here: a fraction would close somebody else's descriptor, a NULL would crash.
 * `setns` must only be used through `host/netns.ts`, which switches there and back in one synchronous go.
 */
import koffi, { type LibraryHandle } from "koffi";
import { TrivetError } from "../errors.ts";
import { errnoError } from "./errno.ts";

export interface Syscalls {
  /** mount(2). May block on a slow disk, so it runs on koffi's pool. */
  mount(source: string, target: string, fsType: string, flags: number, data: string): Promise<void>;
  /**
   * open_tree(2) with OPEN_TREE_CLONE: a copy of the mount of `path`, attached nowhere yet; a final symbolic link is
   * refused by the caller's later steps, never followed. Gives a descriptor, which closing drops the copy with.
   */
  cloneMount(path: string): Promise<number>;
  /** mount_setattr(2) on such a descriptor: MOUNT_ATTR_* bits to set and to clear. */
  setMountAttributes(fd: number, set: number, clear: number): Promise<void>;
  /** move_mount(2): attaches the copy at `target`, all attributes included, in one step. */
  attachMount(fd: number, target: string): Promise<void>;
  /** umount2(2). May block. */
  unmount(target: string, flags: number): Promise<void>;
  /** flock(2), which waits for as long as another holds the lock. */
  flock(fd: number, operation: number): Promise<void>;
  /** setns(2) on this thread. */
  setns(fd: number, namespaceType: number): void;
  /** socket(2); gives the descriptor. */
  socket(domain: number, type: number, protocol: number): number;
  /** setsockopt(2) with the option's bytes as they are. */
  setsockopt(fd: number, level: number, option: number, value: Uint8Array): void;
  /** send(2); gives the number of bytes sent. */
  send(fd: number, data: Uint8Array, flags: number): number;
  /** send(2) on koffi's pool, for requests that the kernel works on for long before it returns. */
  sendAsync(fd: number, data: Uint8Array, flags: number): Promise<void>;
  /** recv(2) into `buffer`; gives the number of bytes received. */
  recv(fd: number, buffer: Uint8Array, flags: number): number;
  close(fd: number): void;
}

type LibraryFunction = ReturnType<LibraryHandle["func"]>;
type Async = (...args: unknown[]) => Promise<number>;

// Numbers of calls that came after 5.1 are the same on every processor; glibc wraps them only from 2.36 on.
const SYS_OPEN_TREE = 428;
const SYS_MOVE_MOUNT = 429;
const SYS_MOUNT_SETATTR = 442;
const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_EMPTY_PATH = 0x1000;
const OPEN_TREE_CLONE = 1;
const OPEN_TREE_CLOEXEC = 0o2000000;
const MOVE_MOUNT_F_EMPTY_PATH = 4;
/** sizeof(struct mount_attr): four 64-bit numbers. */
const MOUNT_ATTR_BYTES = 32;

function requireInteger(op: string, values: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(values)) {
    if (Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff) continue;
    throw new TrivetError({
      kind: "bug",
      op,
      subject: name,
      message: `${op}: ${name} is no number: ${value}`,
    });
  }
}

function requireText(op: string, values: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(values)) {
    if (typeof value === "string" && !value.includes("\0")) continue;
    throw new TrivetError({ kind: "invalid", op, subject: name, message: `${op}: ${name} holds a NUL byte` });
  }
}

/** A koffi function as a promise that rejects with the call's own errno. */
function asynchronous(
  fn: LibraryFunction,
  op: string,
): (subject: string, ...args: unknown[]) => Promise<number> {
  const call: Async = (...args) =>
    new Promise((resolve, reject) => {
      // The errno belongs to the thread that made the call; koffi hands it over inside this callback.
      fn.async(...args, (error: unknown, result: number) => {
        if (error) reject(error);
        else resolve(result === -1 ? -koffi.errno() : result);
      });
    });
  return async (subject, ...args) => {
    const result = await call(...args);
    if (result < 0) throw errnoError(-result, op, subject);
    return result;
  };
}

/** Loads the C library. Takes about 10 ms, so it is called once by each verb that needs it. */
export function createSyscalls(): Syscalls {
  const libc = koffi.load("libc.so.6");
  const mount = asynchronous(
    libc.func(
      "int mount(const char *source, const char *target, const char *type, ulong flags, const char *data)",
    ),
    "mount",
  );
  const unmount = asynchronous(libc.func("int umount2(const char *target, int flags)"), "umount2");
  const flock = asynchronous(libc.func("int flock(int fd, int operation)"), "flock");
  return {
    async mount(source, target, fsType, flags, data) {
      requireText("mount", { source, target, fsType, data });
      requireInteger("mount", { flags });
      await mount(target, source, target, fsType, flags, data);
    },
    async unmount(target, flags) {
      requireText("umount2", { target });
      requireInteger("umount2", { flags });
      await unmount(target, target, flags);
    },
    async flock(fd, operation) {
      requireInteger("flock", { fd, operation });
      await flock(`fd ${fd}`, fd, operation);
    },
    ...createMountCalls(libc),
    ...createSocketCalls(libc),
  };
}

type MountCalls = Pick<Syscalls, "cloneMount" | "setMountAttributes" | "attachMount">;

function createMountCalls(libc: LibraryHandle): MountCalls {
  const openTree = asynchronous(
    libc.func("syscall", "long", ["long", "int", "const char *", "uint"]),
    "open_tree",
  );
  const moveMount = asynchronous(
    libc.func("syscall", "long", ["long", "int", "const char *", "int", "const char *", "uint"]),
    "move_mount",
  );
  const setAttributes = asynchronous(
    libc.func("syscall", "long", ["long", "int", "const char *", "uint", "const uint8_t *", "size_t"]),
    "mount_setattr",
  );
  return {
    cloneMount(path) {
      requireText("open_tree", { path });
      const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW;
      return openTree(path, SYS_OPEN_TREE, AT_FDCWD, path, flags);
    },
    async setMountAttributes(fd, set, clear) {
      requireInteger("mount_setattr", { fd, set, clear });
      const attributes = Buffer.alloc(MOUNT_ATTR_BYTES); // propagation and the user namespace stay as they are
      new BigUint64Array(attributes.buffer, attributes.byteOffset, 2).set([BigInt(set), BigInt(clear)]);
      await setAttributes(`fd ${fd}`, SYS_MOUNT_SETATTR, fd, "", AT_EMPTY_PATH, attributes, MOUNT_ATTR_BYTES);
    },
    async attachMount(fd, target) {
      requireText("move_mount", { target });
      requireInteger("move_mount", { fd });
      await moveMount(target, SYS_MOVE_MOUNT, fd, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH);
    },
  };
}

type SocketCalls = Pick<
  Syscalls,
  "setns" | "socket" | "setsockopt" | "send" | "sendAsync" | "recv" | "close"
>;

function createSocketCalls(libc: LibraryHandle): SocketCalls {
  const setns = libc.func("int setns(int fd, int nstype)");
  const socket = libc.func("int socket(int domain, int type, int protocol)");
  const setsockopt = libc.func(
    "int setsockopt(int fd, int level, int name, const uint8_t *value, uint length)",
  );
  const send = libc.func("long send(int fd, const uint8_t *data, size_t length, int flags)");
  const sendAsync = asynchronous(send, "send");
  const recv = libc.func("long recv(int fd, _Out_ uint8_t *buffer, size_t length, int flags)");
  const close = libc.func("int close(int fd)");
  const checked = (op: string, fd: number, result: number): number => {
    // The errno must be read before anything else runs on this thread.
    if (result < 0) throw errnoError(koffi.errno(), op, `fd ${fd}`);
    return result;
  };
  return {
    setns(fd, namespaceType) {
      requireInteger("setns", { fd, namespaceType });
      checked("setns", fd, setns(fd, namespaceType));
    },
    socket(domain, type, protocol) {
      requireInteger("socket", { domain, type, protocol });
      return checked("socket", -1, socket(domain, type, protocol));
    },
    setsockopt(fd, level, option, value) {
      requireInteger("setsockopt", { fd, level, option });
      checked("setsockopt", fd, setsockopt(fd, level, option, value, value.length));
    },
    send(fd, data, flags) {
      requireInteger("send", { fd, flags });
      return checked("send", fd, Number(send(fd, data, data.length, flags)));
    },
    async sendAsync(fd, data, flags) {
      requireInteger("send", { fd, flags });
      await sendAsync(`fd ${fd}`, fd, data, data.length, flags);
    },
    recv(fd, buffer, flags) {
      requireInteger("recv", { fd, flags });
      return checked("recv", fd, Number(recv(fd, buffer, buffer.length, flags)));
    },
    close(fd) {
      requireInteger("close", { fd });
      checked("close", fd, close(fd));
    },
  };
}
