/**
 * Unix sockets at well-known paths. A stale socket (nobody answers) is replaced, a live one never stolen.
 * The server binds a private name and is linked to the public one when it listens: libuv unlinks the name that
 * it bound when it closes, which would otherwise delete the socket of a successor.
 */
import { chmod, chown, link, lstat, mkdir, rename, stat, unlink } from "node:fs/promises";
import { connect, type Server } from "node:net";
import { basename, dirname, join } from "node:path";
import { TrivetError } from "../errors.ts";
import { fromNodeError } from "./errno.ts";

const SOCKET_MODE = 0o600;
const DIRECTORY_MODE = 0o700;
/** The bits of everybody but the owner. */
const OTHERS = 0o077;
/** S_ISGID of a directory: what is made in it has its group. */
const SET_GROUP = 0o2000;
const PROBE_TIMEOUT_MS = 1_000;
/** sizeof(sockaddr_un.sun_path) less the closing NUL. */
export const maxSocketPathBytes = 107;

/** A socket that is in place; `withdraw` takes the public name away if it is still ours. */
export interface PublishedSocket {
  readonly path: string;
  withdraw(): Promise<void>;
}

/** Who may open a socket; root's own without any of them. */
export interface SocketAccess {
  /** Of the socket file; 0600 without it. */
  readonly mode?: number;
  /** The group that owns the socket file. */
  readonly gid?: number;
  /** Of directories that have to be made; 0700 without it. */
  readonly directoryMode?: number;
}

/** Of a hidden name: no longer than most public ones, for which there is room in an address. */
const MAX_HIDDEN_LENGTH = 24;

/** A name beside `path` for this process alone, another one for each path and each mark (one character). */
export function hiddenSocketPath(path: string, mark: string): string {
  const name = `.${process.pid}${mark}${basename(path)}`;
  if (name.length <= MAX_HIDDEN_LENGTH) return join(dirname(path), name);
  let sum = 0;
  for (const character of name) sum = (Math.imul(sum, 31) + (character.codePointAt(0) ?? 0)) >>> 0;
  const end = `~${sum.toString(36)}`;
  return join(dirname(path), `${name.slice(0, MAX_HIDDEN_LENGTH - end.length)}${end}`);
}

/** Where the server binds before it is published: beside the public name, so that link(2) can reach it. */
export function privateSocketPath(path: string): string {
  const name = hiddenSocketPath(path, ".");
  for (const candidate of [path, name]) {
    if (Buffer.byteLength(candidate) <= maxSocketPathBytes) continue;
    throw new TrivetError({
      kind: "invalid",
      op: "socket.bind",
      subject: path,
      message: `socket path ${candidate} is longer than ${maxSocketPathBytes} bytes: choose a shorter directory`,
    });
  }
  return name;
}

/** Whether a process accepts connections at `path`. */
export function isLiveSocket(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    const settle = (live: boolean) => {
      socket.destroy();
      resolve(live);
    };
    socket.setTimeout(PROBE_TIMEOUT_MS, () => settle(true)); // it queues us without accepting: busy, not gone
    socket.once("connect", () => settle(true));
    socket.once("error", (error: NodeJS.ErrnoException) =>
      settle(!["ECONNREFUSED", "ENOENT", "ENOTSOCK"].includes(error.code ?? "")),
    );
  });
}

/** Gives the socket bound at `privateSocketPath(path)` its public name, with mode 0600 unless `access` says otherwise. */
export async function publishSocket(path: string, access: SocketAccess = {}): Promise<PublishedSocket> {
  const own = privateSocketPath(path);
  try {
    await restrictSocket(own, access);
    const { ino } = await lstat(own);
    await claimName(own, path);
    await unlink(own);
    return { path, withdraw: () => withdraw(path, ino) };
  } catch (error) {
    await unlink(own).catch(() => undefined);
    throw fromNodeError(error, "socket.publish", path);
  }
}

/** Sets who may open a socket file; the group before the mode: there is no moment at which somebody else could open it. */
export async function restrictSocket(own: string, { mode = SOCKET_MODE, gid }: SocketAccess): Promise<void> {
  await chmod(own, SOCKET_MODE);
  if (gid !== undefined) await chown(own, -1, gid);
  if (mode !== SOCKET_MODE) await chmod(own, mode);
}

/**
 * Sets anew who may open a socket that is in use. Not at all where that is as it was: in the middle of it nobody but its owner
 * could.
 */
export async function restrictAnew(path: string, { mode = SOCKET_MODE, gid }: SocketAccess): Promise<void> {
  const wanted = gid ?? (await groupOfNew(dirname(path)));
  const present = await lstat(path);
  if ((present.mode & 0o777) !== mode || present.gid !== wanted)
    await restrictSocket(path, { mode, gid: wanted });
}

/** The group that a file has which this process makes in a directory. */
async function groupOfNew(directory: string): Promise<number> {
  const { mode, gid } = await stat(directory);
  return (mode & SET_GROUP) !== 0 ? gid : (process.getegid?.() ?? 0);
}

async function claimName(own: string, path: string): Promise<void> {
  for (;;) {
    try {
      return await link(own, path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    await removeStale(path);
  }
}

async function removeStale(path: string): Promise<void> {
  const seen = await lstat(path).catch(() => undefined);
  if (!seen) return;
  if (!seen.isSocket()) throw taken(path, "is not a socket: remove it, or choose another path");
  if (await isLiveSocket(path)) throw taken(path, "is served by another process: stop that one first");
  // Another starter may have replaced it since: move it aside and look again before anything is deleted.
  const aside = `${privateSocketPath(path)}~`;
  await rename(path, aside).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
  const moved = await lstat(aside).catch(() => undefined);
  if (moved && moved.ino !== seen.ino) {
    await link(aside, path).catch(() => undefined);
    await unlink(aside);
    throw taken(path, "was taken by another process just now");
  }
  if (moved) await unlink(aside);
}

function taken(path: string, why: string): TrivetError {
  return new TrivetError({
    kind: "conflict",
    op: "socket.publish",
    subject: path,
    message: `${path} ${why}`,
  });
}

async function withdraw(path: string, ino: number): Promise<void> {
  const present = await lstat(path).catch(() => undefined);
  if (present?.ino === ino) await unlink(path).catch(() => undefined);
}

/**
 * Makes a server of `node:net` listen at `privateSocketPath(path)`, restricted already, and gives that name. The directory
 * is made where it is missing.
 */
export async function bindPrivately(
  server: Server,
  path: string,
  access: SocketAccess = {},
): Promise<string> {
  const own = privateSocketPath(path);
  try {
    await mkdir(dirname(path), { recursive: true, mode: access.directoryMode ?? DIRECTORY_MODE });
    await unlink(own).catch(() => undefined); // left by a process that had our pid
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      // It is bound before `listen` returns: there is no moment at which others could connect, under any umask.
      const umask = process.umask(OTHERS);
      try {
        server.listen(own, () => {
          server.off("error", reject);
          resolve();
        });
      } finally {
        process.umask(umask);
      }
    });
    await restrictSocket(own, access);
    return own;
  } catch (error) {
    if (server.listening) server.close();
    throw fromNodeError(error, "socket.listen", path);
  }
}

/** Listens on `path` with a server of `node:net`. The directory is made, for its owner alone, where it is missing. */
export async function listenUnix(
  server: Server,
  path: string,
  access: SocketAccess = {},
): Promise<PublishedSocket> {
  await bindPrivately(server, path, access);
  return publishSocket(path, access).catch((error) => {
    server.close();
    throw error;
  });
}

/** `unix:///run/x.sock`, `unix:/run/x.sock` or a bare absolute path, as a path; undefined for anything else. */
export function parseUnixAddress(address: string): string | undefined {
  const path = address.replace(/^unix:(\/\/)?(?=\/)/, "");
  // `unix://run/x.sock` names a host called run: two slashes are a mistake, whoever made it.
  return /^\/(?!\/)/.test(path) ? path : undefined;
}
