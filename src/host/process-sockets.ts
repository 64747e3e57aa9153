/**
 * Which Unix sockets a process is connected to, by the names of the servers at the other end. Asked of the kernel, through a copy of
 * each descriptor: /proc/net/unix does not say who is connected to whom. Needs root, and to see the process.
 */
import { readdir, readlink } from "node:fs/promises";
import { connect } from "node:net";
import { isKind } from "../errors.ts";
import { fromNodeError } from "./errno.ts";
import type { Syscalls } from "./syscall.ts";

/** Both ends of a connection by the names that they were bound to; an end that was never bound has the empty name. */
export interface SocketEnds {
  readonly own: string;
  readonly peer: string;
}

export interface ProcessSockets {
  /** Of all connected Unix sockets of a process. Throws kind `not-found` for a process that is gone. */
  of(pid: number): Promise<SocketEnds[]>;
  /** The name that the server at this path has bound, which need not be the path: it may have been renamed or linked. */
  nameAt(path: string): Promise<string>;
}

const AF_UNIX = 1;
const CONNECT_TIMEOUT_MS = 5_000;

type Calls = Pick<Syscalls, "pidfdOpen" | "pidfdGetfd" | "getsockname" | "getpeername" | "close">;

/** The real ones. */
export function createProcessSockets(calls: Calls): ProcessSockets {
  const of = async (pid: number): Promise<SocketEnds[]> => {
    const descriptors = await socketsOf(pid);
    const pidfd = calls.pidfdOpen(pid);
    try {
      return descriptors.flatMap((fd) => endsOf(calls, pidfd, fd) ?? []);
    } finally {
      calls.close(pidfd);
    }
  };
  return {
    of,
    async nameAt(path) {
      const before = new Set(await socketsOf(process.pid));
      const socket = await connected(path);
      try {
        const pidfd = calls.pidfdOpen(process.pid);
        try {
          const added = (await socketsOf(process.pid)).filter((fd) => !before.has(fd));
          return added.map((fd) => endsOf(calls, pidfd, fd)?.peer).find((name) => name) ?? path;
        } finally {
          calls.close(pidfd);
        }
      } finally {
        socket.destroy();
      }
    },
  };
}

async function socketsOf(pid: number): Promise<number[]> {
  const directory = `/proc/${pid}/fd`;
  const names = await readdir(directory).catch((error: unknown) => {
    throw fromNodeError(error, "process.sockets", directory);
  });
  const targets = await Promise.all(names.map((name) => readlink(`${directory}/${name}`).catch(() => "")));
  return names.filter((_, index) => targets[index]?.startsWith("socket:")).map(Number);
}

/** Undefined for what is no connected Unix socket, or is closed by now. */
function endsOf(calls: Calls, pidfd: number, fd: number): SocketEnds | undefined {
  let copy: number | undefined;
  try {
    copy = calls.pidfdGetfd(pidfd, fd);
    const own = nameOf(calls.getsockname(copy));
    // What listens, and what was shut down at the other end, has no peer.
    return own === undefined ? undefined : { own, peer: nameOf(calls.getpeername(copy)) ?? "" };
  } catch (error) {
    if (isKind(error, "io", "not-found", "unavailable", "unsupported")) return undefined;
    throw error;
  } finally {
    if (copy !== undefined) calls.close(copy);
  }
}

/** Undefined for another family; the empty text for no name. The name ends with the first NUL, but for abstract ones. */
function nameOf(address: Buffer): string | undefined {
  if (address.length < 2 || address.readUInt16LE(0) !== AF_UNIX) return undefined;
  const bytes = address.subarray(2);
  const end = bytes.indexOf(0);
  if (end === 0) return bytes.length > 1 ? `@${bytes.subarray(1).toString("latin1")}` : "";
  return bytes.subarray(0, end < 0 ? bytes.length : end).toString();
}

function connected(path: string): Promise<ReturnType<typeof connect>> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    const fail = (error: unknown) => {
      socket.destroy();
      reject(fromNodeError(error, "socket.connect", path));
    };
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => fail(Object.assign(new Error(), { code: "ETIMEDOUT" })));
    socket.once("error", fail);
    socket.once("connect", () => resolve(socket));
  });
}
