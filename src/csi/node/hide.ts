/**
 * Takes mounts of a volume away: unmounts until the table shows nothing, and removes nothing but the target itself.
 * Neither the pool nor the volume need be there: a mount is to go also when its disk has died.
 */
import { posix } from "node:path";
import { isKind } from "../../errors.ts";
import type { MountInfo } from "../../host/mount.ts";
import { volumeOfMountRoot } from "../pool/layout.ts";
import { refusal } from "../refusal.ts";
import { mountsAt, type ShowsVolume } from "./mount-state.ts";
import type { ShowDeps } from "./stage.ts";

/** More mounts than anybody stacks: something keeps mounting while we unmount. */
const MAX_STACKED = 64;

/** What is to be hidden, and how to know it. */
export interface Hidden {
  readonly volumeId: string;
  readonly path: string;
  /** What directories of the volume are named after: its id, or those that the inline volume of a pod may have. */
  readonly ownIds: readonly string[];
  /** Says whether a mount is of the volume, where that is not plain from its root; undefined if nobody knows. */
  findShows(): Promise<ShowsVolume | undefined>;
}

/** Gives the mounts that were there. `precondition` where they are not this volume's, or in use. */
export async function hide(deps: ShowDeps, hidden: Hidden): Promise<readonly MountInfo[]> {
  const { mounts } = deps;
  const { path } = hidden;
  const found = mountsAt(await mounts.list(), path);
  await requireVolume(found, hidden);
  let stacked = found;
  for (let count = 0; stacked.length > 0; count++) {
    if (count === MAX_STACKED) {
      throw refusal("busy", path, `${path} is still mounted after ${count} unmounts: try again`);
    }
    await mounts.unmount(path).catch((error) => explain(deps, path, error));
    stacked = mountsAt(await mounts.list(), path);
  }
  return found;
}

/** A path that shows only other things is not this volume's: to unmount it would pull them away from a pod. */
async function requireVolume(stacked: readonly MountInfo[], hidden: Hidden): Promise<void> {
  const { volumeId, ownIds, path } = hidden;
  if (stacked.length === 0) return;
  if (stacked.some(({ root }) => ownIds.includes(volumeOfMountRoot(root) ?? ""))) return;
  const shows = (await hidden.findShows()) ?? showsSomeDevice;
  if (stacked.some(shows)) return;
  const shown = stacked.map(({ root, source }) => volumeOfMountRoot(root) ?? `${root} of ${source}`);
  throw refusal("precondition", path, `${path} shows ${shown.join(", ")}, not volume ${volumeId}`);
}

/** What is left to go by when the volume is not to be found: only volumes are shown from loop devices here. */
function showsSomeDevice({ source, root, fsType }: MountInfo): boolean {
  if (volumeOfMountRoot(root) !== undefined) return false;
  const isDeviceNode = ["devtmpfs", "tmpfs"].includes(fsType) && /^loop\d+$/.test(posix.basename(root));
  return isDeviceNode || /^\/dev\/loop\d+$/.test(source);
}

/** "In use" helps nobody who is not told by whom. */
async function explain({ mounts }: ShowDeps, path: string, error: unknown): Promise<never> {
  if (!isKind(error, "precondition")) throw error;
  const users = await mounts.users(path).catch(() => []);
  if (users.length === 0) throw error;
  throw refusal("precondition", path, `${path} is in use by ${users.join(", ")}`, error);
}
