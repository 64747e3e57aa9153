/**
 * Who keeps a mount busy: mounts within it, and processes that have something of it open, stand in it, or have it as
 * their root. Looks at every process, so it is for messages about a failure only.
 */
import { readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import type { MountInfo } from "./mount.ts";

/** A message names so many, not all. */
const MAX_USERS = 5;

/** Never throws: a process that is gone meanwhile is no user. */
export async function findMountUsers(
  target: string,
  parse: (text: string) => readonly MountInfo[],
): Promise<readonly string[]> {
  const table = parse(await readFile("/proc/self/mountinfo", "utf8"));
  const users = table
    .filter(({ mountPoint }) => mountPoint.startsWith(`${target}/`))
    .map(({ mountPoint }) => `mount ${mountPoint}`);
  for (const pid of await readdir("/proc")) {
    if (users.length >= MAX_USERS) break;
    if (!/^\d+$/.test(pid) || !(await isUser(join("/proc", pid), target))) continue;
    const name = await readFile(join("/proc", pid, "comm"), "utf8").catch(() => "");
    users.push(`process ${pid} (${name.trim()})`);
  }
  return users.slice(0, MAX_USERS);
}

async function isUser(process: string, target: string): Promise<boolean> {
  const descriptors = await readdir(join(process, "fd")).catch(() => []);
  const links = ["cwd", "root", ...descriptors.map((fd) => `fd/${fd}`)];
  for (const link of links) {
    const path = await readlink(join(process, link)).catch(() => "");
    if (path === target || path.startsWith(`${target}/`)) return true;
  }
  return false;
}
