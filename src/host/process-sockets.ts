/**
 * Which Unix sockets a process is connected to, by the names of the servers at the other end. Asked of the kernel, through a copy of
 * each descriptor: /proc/net/unix does not say who is connected to whom. Needs root, and to see the process.
 */
import { readdir, readlink } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { isKind, TrivetError } from "../errors.ts";
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
      const socket = await connected(path);
      try {
        return nameOf(calls.getpeername(descriptorOf(socket))) || path;
      } finally {
        socket.destroy();
      }
    },
  };
}

/** Node keeps it where nothing is promised: without it nothing could be told from the connection. */
function descriptorOf(socket: Socket): number {
  const { _handle: handle } = socket as unknown as { readonly _handle?: { readonly fd?: number } };
  if (handle?.fd !== undefined && handle.fd >= 0) return handle.fd;
  const message = "this Node.js does not tell the descriptor of a socket";
  throw new TrivetError({ kind: "bug", op: "socket.descriptor", subject: "node:net", message });
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

function connected(path: string): Promise<Socket> {
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
