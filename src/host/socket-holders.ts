/** Who listens on the Unix sockets of this machine: for people who look, since it reads the descriptors of every process. Needs root. */
import { readdir, readFile, readlink } from "node:fs/promises";

/** A process that listens. */
export interface SocketHolder {
  readonly pid: number;
  /** Its command line. */
  readonly argv: readonly string[];
}

/** `__SO_ACCEPTCON` of /proc/net/unix: the socket was listened on. */
const LISTENS = 0x10000;

/** By the path that was bound, as the kernel has it: of a socket that was renamed since, the first name. */
export async function findSocketHolders(): Promise<ReadonlyMap<string, SocketHolder>> {
  const table = await readFile("/proc/net/unix", "utf8");
  const paths = new Map<string, string>();
  for (const line of table.split("\n").slice(1)) {
    const [, , , flags = "0", , , inode = "", ...path] = line.trim().split(/\s+/);
    if (Number.parseInt(flags, 16) & LISTENS && path.length > 0) paths.set(inode, path.join(" "));
  }
  const holders = new Map<string, SocketHolder>();
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  for (const pid of pids) {
    for (const inode of await socketsOf(pid)) {
      const path = paths.get(inode);
      if (path === undefined || holders.has(path)) continue;
      const argv = (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => ""))
        .split("\0")
        .filter(Boolean);
      holders.set(path, { pid: Number(pid), argv });
    }
  }
  return holders;
}

/** Inodes of the sockets that a process has open. */
async function socketsOf(pid: string): Promise<string[]> {
  const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => []);
  const targets = await Promise.all(
    descriptors.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => "")),
  );
  return targets.flatMap((target) => /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? []);
}
