/**
 * The system calls that Node lacks, through koffi; nothing outside `syscall/` and this file knows koffi. koffi checks
 * nothing, so every number and string is validated in the bindings: a fraction would close somebody else's descriptor,
 * a NULL would crash.
 */
import koffi, { type LibraryHandle } from "koffi";
import { asynchronous, requireInteger } from "./syscall/call.ts";
import { type CopyCalls, createCopyCalls } from "./syscall/copy.ts";
import { createDetachedMountCalls, type DetachedMountCalls } from "./syscall/detached-mount.ts";
import { type AllocationCalls, createAllocationCalls } from "./syscall/fallocate.ts";
import { createIoctlCalls, type IoctlCalls } from "./syscall/ioctl.ts";
import { createLoopCalls, type LoopCalls } from "./syscall/loop.ts";
import { createMountCalls, type MountCalls } from "./syscall/mount.ts";
import { createOpenatCalls, type OpenatCalls } from "./syscall/openat.ts";
import { createPeerCalls, type PeerCalls } from "./syscall/peer.ts";
import { createPidfdCalls, type PidfdCalls } from "./syscall/pidfd.ts";
import { createQuotaCalls, type QuotaCalls } from "./syscall/quota.ts";
import { createSocketCalls, type SocketCalls } from "./syscall/socket.ts";
import { createSpawnCalls, type SpawnCalls } from "./syscall/spawn.ts";
import { createXattrCalls, type XattrCalls } from "./syscall/xattr.ts";

/** All of them: an effect takes the few that it needs. */
export interface Syscalls
  extends MountCalls,
    SocketCalls,
    PeerCalls,
    LockCalls,
    IoctlCalls,
    QuotaCalls,
    LoopCalls,
    AllocationCalls,
    DetachedMountCalls,
    OpenatCalls,
    XattrCalls,
    CopyCalls,
    PidfdCalls,
    SpawnCalls {}

/** Locks on files. */
interface LockCalls {
  /** flock(2), which waits for as long as another holds the lock. */
  flock(fd: number, operation: number): Promise<void>;
}

/** Loads the C library. Takes about 10 ms, so it is called once by each verb that needs it. */
export function createSyscalls(): Syscalls {
  const libc = koffi.load("libc.so.6");
  return {
    ...createMountCalls(libc),
    ...createSocketCalls(libc),
    ...createPeerCalls(libc),
    ...createLockCalls(libc),
    ...createIoctlCalls(libc),
    ...createQuotaCalls(libc),
    ...createLoopCalls(libc),
    ...createAllocationCalls(libc),
    ...createDetachedMountCalls(libc),
    ...createOpenatCalls(libc),
    ...createXattrCalls(libc),
    ...createCopyCalls(libc),
    ...createPidfdCalls(libc),
    ...createSpawnCalls(libc),
  };
}

function createLockCalls(libc: LibraryHandle): LockCalls {
  const flock = asynchronous(libc.func("int flock(int fd, int operation)"), "flock");
  return {
    async flock(fd, operation) {
      requireInteger("flock", { fd, operation });
      await flock(`fd ${fd}`, fd, operation);
    },
  };
}
