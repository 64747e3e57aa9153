/**
 * Listening sockets that a process was started with (sd_listen_fds(3)): from systemd, which holds them while nobody
 * runs, or from a predecessor that hands its own over. Reads what the environment says and proves that the descriptors
 * are what it says; listening is the caller's.
 */
import { readFile, readlink } from "node:fs/promises";
import { TrivetError } from "../errors.ts";

/** One descriptor that listens on a unix socket. */
export interface InheritedSocket {
  /** From LISTEN_FDNAMES; `unknown` where systemd was told no name. */
  readonly name: string;
  readonly fd: number;
  /** The name that it was bound to, which need not be the one that clients use. Undefined if it is gone. */
  readonly boundPath: string | undefined;
}

/** What of the environment and of /proc is looked at: given, so that tests bring their own. */
export interface InheritanceSource {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly pid: number;
  /** Started by a predecessor of ours, which could not know our pid when it wrote LISTEN_FDS. */
  readonly fromPredecessor: boolean;
}

const FIRST_FD = 3;
/** Far more than there are listeners: a number beyond is a mistake. */
const MAX_FDS = 256;
/** `__SO_ACCEPTCON` in the flags of /proc/net/unix: the socket listens. */
const ACCEPTS = 0x10000;
const STREAM = "0001";

/** The sockets, in the order of their descriptors; none where the environment names none, or not for this process. */
export async function inheritedSockets({
  env,
  pid,
  fromPredecessor,
}: InheritanceSource): Promise<InheritedSocket[]> {
  const count = Number(env.LISTEN_FDS ?? 0);
  // The variables go on to children, which have no such descriptors: the pid says for whom they are.
  if (count === 0 || (!fromPredecessor && env.LISTEN_PID !== String(pid))) return [];
  if (!Number.isInteger(count) || count < 0 || count > MAX_FDS) {
    throw refused("LISTEN_FDS", `must be a number of descriptors, not ${env.LISTEN_FDS}`);
  }
  const names = env.LISTEN_FDNAMES?.split(":") ?? [];
  const table = await readFile("/proc/net/unix", "utf8").catch(() => "");
  return Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const fd = FIRST_FD + index;
      const name = names[index] || "unknown";
      return { name, fd, boundPath: await boundPath(fd, name, table) };
    }),
  );
}

async function boundPath(fd: number, name: string, table: string): Promise<string | undefined> {
  const target = await readlink(`/proc/self/fd/${fd}`).catch(() => undefined);
  if (target === undefined) throw refused(name, `descriptor ${fd} is not open`);
  const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
  if (inode === undefined) throw refused(name, `descriptor ${fd} is no socket, it is ${target}`);
  const socket = parseUnixTable(table).find((entry) => entry.inode === inode);
  // Not among the unix sockets of this network namespace: a TCP socket, or one from another namespace.
  if (!socket) throw refused(name, `descriptor ${fd} is no unix socket of this network namespace`);
  if (!socket.listens) throw refused(name, `descriptor ${fd} is no listening stream socket`);
  return socket.path;
}

interface UnixTableEntry {
  readonly inode: string;
  readonly listens: boolean;
  readonly path: string | undefined;
}

/** The lines of /proc/net/unix: `Num RefCount Protocol Flags Type St Inode Path`. */
export function parseUnixTable(table: string): UnixTableEntry[] {
  return table
    .split("\n")
    .slice(1)
    .filter((line) => line !== "")
    .map((line) => {
      const [, , , flags = "0", type, , inode = "", ...path] = line.trim().split(/ +/);
      const listens = type === STREAM && (Number.parseInt(flags, 16) & ACCEPTS) !== 0;
      return { inode, listens, path: path.length > 0 ? path.join(" ") : undefined };
    });
}

function refused(name: string, why: string): TrivetError {
  return new TrivetError({
    kind: "invalid",
    op: "sockets.inherit",
    subject: name,
    message: `the inherited socket ${name} cannot be used: ${why}`,
  });
}
