/**
 * The control groups that containerd makes for containers: `k8s.io/<id>` in every hierarchy of version 1, or in the
 * only one of version 2. A containerd that was killed leaves them, and an orderly one leaves the empty `k8s.io`.
 */
import { readdir, rmdir } from "node:fs/promises";
import { join } from "node:path";

const MOUNT_POINT = "/sys/fs/cgroup";
const PARENT = "k8s.io";

/** The `k8s.io` groups that there are now. */
export async function containerGroups(): Promise<string[]> {
  const hierarchies = await readdir(MOUNT_POINT, { withFileTypes: true }).catch(() => []);
  const candidates = [
    MOUNT_POINT,
    ...hierarchies.filter((entry) => entry.isDirectory()).map(({ name }) => join(MOUNT_POINT, name)),
  ];
  const found: string[] = [];
  for (const hierarchy of candidates) {
    const entries: string[] = await readdir(hierarchy).catch(() => []);
    if (hierarchy.endsWith(`/${PARENT}`)) continue;
    if (entries.includes(PARENT)) found.push(join(hierarchy, PARENT));
  }
  return found;
}

/** The groups that any of these containers still has. */
export async function groupsOf(ids: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const parent of await containerGroups()) {
    const entries: string[] = await readdir(parent).catch(() => []);
    found.push(...entries.filter((name) => ids.includes(name)).map((name) => join(parent, name)));
  }
  return found;
}

/** Removes the groups of these containers, and those parents that were not there `before` and are empty now. */
export async function removeContainerGroups(
  ids: readonly string[],
  before: readonly string[],
): Promise<void> {
  for (const parent of await containerGroups()) {
    for (const id of ids) await removeGroup(join(parent, id));
    if (before.includes(parent)) continue;
    await rmdir(parent).catch((error: NodeJS.ErrnoException) => {
      // Another containerd came up meanwhile and uses it.
      if (error.code !== "EBUSY" && error.code !== "ENOTEMPTY" && error.code !== "ENOENT") throw error;
    });
  }
}

async function removeGroup(path: string): Promise<void> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => undefined);
  if (!entries) return;
  for (const entry of entries) if (entry.isDirectory()) await removeGroup(join(path, entry.name));
  await rmdir(path);
}
