/**
 * Network namespaces by path. This thread enters one only for a synchronous go: setns there, make a socket, setns
 * back. Nothing asynchronous may run in between, and a thread that cannot come back ends the process: whatever
 * it would do next would happen in somebody else's namespace.
 */
import { closeSync, constants, fstatSync, openSync, statfsSync } from "node:fs";
import { fromNodeError } from "./errno.ts";
import type { Syscalls } from "./syscall.ts";

const CLONE_NEWNET = 0x4000_0000;
/** statfs(2) type of a namespace file. A plain file at the path means that the namespace is gone. */
const NSFS_MAGIC = 0x6e73_6673;

/** An open namespace: it cannot vanish before `close`. */
export interface NetnsHandle {
  readonly path: string;
  /** For IFLA_NET_NS_FD. */
  readonly fd: number;
  /** Identifies the namespace for as long as the machine runs. */
  readonly inode: bigint;
  close(): void;
}

/** All of it is synchronous: see the head of this file. */
export interface Netns {
  /** Undefined where there is no namespace (any more): no file, or a file that is not one. */
  open(path: string): NetnsHandle | undefined;
  /** The inode of the namespace that this process works in. */
  currentInode(): bigint;
  /** Runs `action` inside the namespace. It must be synchronous, and should only make sockets or touch /proc/sys/net. */
  within<T>(handle: NetnsHandle, action: () => T): T;
}

/** Needs CAP_SYS_ADMIN in the namespaces that it enters. */
export function createNetns(syscalls: Pick<Syscalls, "setns">): Netns {
  return {
    open: openNamespace,
    currentInode() {
      const fd = openSync("/proc/thread-self/ns/net", "r");
      try {
        return fstatSync(fd, { bigint: true }).ino;
      } finally {
        closeSync(fd);
      }
    },
    within(handle, action) {
      const home = openSync("/proc/thread-self/ns/net", "r");
      try {
        syscalls.setns(handle.fd, CLONE_NEWNET);
        try {
          return action();
        } finally {
          comeBack(syscalls, home);
        }
      } finally {
        closeSync(home);
      }
    },
  };
}

function comeBack(syscalls: Pick<Syscalls, "setns">, home: number): void {
  try {
    syscalls.setns(home, CLONE_NEWNET);
  } catch {
    process.abort();
  }
}

function openNamespace(path: string): NetnsHandle | undefined {
  let fd: number;
  try {
    // O_NONBLOCK: should the path be a FIFO, opening it must not hang.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "";
    if (["ENOENT", "ENOTDIR", "ENXIO"].includes(code)) return undefined;
    throw fromNodeError(error, "netns.open", path);
  }
  // Asked of the descriptor, not of the path: between two looks at a path it may become another file.
  if (Number(statfsSync(`/proc/self/fd/${fd}`).type) !== NSFS_MAGIC) {
    closeSync(fd);
    return undefined;
  }
  let open = true;
  return {
    path,
    fd,
    inode: fstatSync(fd, { bigint: true }).ino,
    close() {
      if (!open) return;
      open = false;
      closeSync(fd);
    },
  };
}
