/**
 * Who shows a directory elsewhere: bind mounts of it, or of something in it, in the mount namespace of any process, as
 * containers have them. Needs to see the processes of the host (in a pod: `hostPID`).
 */
import { readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import { parseMountInfo } from "./mount.ts";

/** A directory as mount tables name it: the same in every namespace. */
export interface ShownPlace {
  /** `major:minor` of its file system. */
  readonly device: string;
  /** Its path within that. */
  readonly root: string;
}

/** Finds who uses a place, for people: `process 17 (postgres) at /data`. Empty where nobody is seen to. */
export type FindPathUsers = (place: ShownPlace, path: string) => Promise<readonly string[]>;

const MAX_USERS = 5;

/** The real one. Processes that end meanwhile are no users. */
export const findPathUsers: FindPathUsers = async (place, path) => {
  const users: string[] = [];
  const namespaces = new Set<string>();
  for (const pid of await readdir("/proc")) {
    if (users.length >= MAX_USERS) break;
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    const found = (await openIn(pid, path)) ?? (await mountedIn(pid, place, namespaces));
    if (found === undefined) continue;
    const name = await readFile(join("/proc", pid, "comm"), "utf8").catch(() => "");
    users.push(`process ${pid} (${name.trim()}) at ${found}`);
  }
  return users;
};

const isWithin = (path: string, directory: string) => path === directory || path.startsWith(`${directory}/`);

/** A file that the process has open, or where it stands. */
async function openIn(pid: string, path: string): Promise<string | undefined> {
  const descriptors = await readdir(join("/proc", pid, "fd")).catch(() => []);
  for (const link of ["cwd", "root", ...descriptors.map((fd) => `fd/${fd}`)]) {
    const target = await readlink(join("/proc", pid, link)).catch(() => "");
    if (isWithin(target, path)) return target;
  }
  return undefined;
}

/** Each mount namespace is looked at once. */
async function mountedIn(
  pid: string,
  { device, root }: ShownPlace,
  seen: Set<string>,
): Promise<string | undefined> {
  const namespace = await readlink(join("/proc", pid, "ns/mnt")).catch(() => "");
  if (namespace === "" || seen.has(namespace)) return undefined;
  seen.add(namespace);
  const text = await readFile(join("/proc", pid, "mountinfo"), "utf8").catch(() => "");
  const mounts = parseMountInfo(text);
  return mounts.find((mount) => mount.device === device && isWithin(mount.root, root) && mount.root !== "/")
    ?.mountPoint;
}
