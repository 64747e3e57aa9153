/** Looking at the descriptors of another process: pidfd_open(2) and pidfd_getfd(2), Linux 5.6, and the two names of a socket. */
import type { LibraryHandle } from "koffi";
import { checked, requireInteger } from "./call.ts";

/** None of them blocks. */
export interface PidfdCalls {
  /** A descriptor that stands for a process. */
  pidfdOpen(pid: number): number;
  /** A copy, in this process, of the descriptor `fd` of another one; close-on-exec. */
  pidfdGetfd(pidfd: number, fd: number): number;
  /** getsockname(2): the address as the kernel has it, its family first. */
  getsockname(fd: number): Buffer;
  /** getpeername(2): the same of the other end. */
  getpeername(fd: number): Buffer;
}

// Numbers of calls that came after 5.1 are the same on every processor; glibc wraps them only from 2.36 on.
const SYS_PIDFD_OPEN = 434;
const SYS_PIDFD_GETFD = 438;
/** sizeof(struct sockaddr_storage): no address is longer. */
const ADDRESS_BYTES = 128;

/** Binds the calls. */
export function createPidfdCalls(libc: LibraryHandle): PidfdCalls {
  const pidfdOpen = libc.func("syscall", "long", ["long", "int", "uint"]);
  const pidfdGetfd = libc.func("syscall", "long", ["long", "int", "int", "uint"]);
  const getsockname = libc.func("int getsockname(int fd, void *address, void *length)");
  const getpeername = libc.func("int getpeername(int fd, void *address, void *length)");
  const address = (op: string, call: typeof getsockname) => (fd: number) => {
    requireInteger(op, { fd });
    const bytes = Buffer.alloc(ADDRESS_BYTES);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(ADDRESS_BYTES);
    checked(op, `fd ${fd}`, call(fd, bytes, length));
    return bytes.subarray(0, Math.min(length.readUInt32LE(), ADDRESS_BYTES));
  };
  return {
    pidfdOpen(pid) {
      requireInteger("pidfd_open", { pid });
      return checked("pidfd_open", `process ${pid}`, Number(pidfdOpen(SYS_PIDFD_OPEN, pid, 0)));
    },
    pidfdGetfd(pidfd, fd) {
      requireInteger("pidfd_getfd", { pidfd, fd });
      return checked("pidfd_getfd", `descriptor ${fd}`, Number(pidfdGetfd(SYS_PIDFD_GETFD, pidfd, fd, 0)));
    },
    getsockname: address("getsockname", getsockname),
    getpeername: address("getpeername", getpeername),
  };
}
