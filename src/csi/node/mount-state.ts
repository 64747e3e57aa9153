/**
 * What the mount table says about volumes. Publish state is stored nowhere else, so that nothing can disagree with
 * it. Pure. Paths here have no symbolic links in them, as in the table.
 */
import { posix } from "node:path";
import type { MountInfo } from "../../host/mount.ts";

/** A directory as the table names it: the same for the directory itself and for every bind mount of it. */
export interface Place {
  readonly device: string;
  readonly root: string;
  /** The options of the mount that holds it: a bind mount begins with them. */
  readonly options: readonly string[];
}

/** Where `path` lies; undefined for a table without a root. */
export function placeOf(mounts: readonly MountInfo[], path: string): Place | undefined {
  let holder: MountInfo | undefined;
  for (const mount of mounts) {
    // A later mount on the same point lies over the earlier one.
    const isCloser = mount.mountPoint.length >= (holder?.mountPoint.length ?? 0);
    if (isCloser && isWithin(path, mount.mountPoint)) holder = mount;
  }
  if (!holder) return undefined;
  const { device, options, mountPoint } = holder;
  return { device, options, root: posix.join(holder.root, posix.relative(mountPoint, path)) };
}

/** The mounts at exactly `target`, the topmost last. */
export function mountsAt(mounts: readonly MountInfo[], target: string): readonly MountInfo[] {
  return mounts.filter(({ mountPoint }) => mountPoint === target);
}

/** The mounts that show exactly this directory. */
export function mountsOf(mounts: readonly MountInfo[], { device, root }: Place): readonly MountInfo[] {
  return mounts.filter((mount) => mount.device === device && mount.root === root);
}

/** Those and the mounts of directories within it, such as the kubelet's for `subPath`. */
export function mountsWithin(mounts: readonly MountInfo[], { device, root }: Place): readonly MountInfo[] {
  return mounts.filter((mount) => mount.device === device && isWithin(mount.root, root));
}

/** Whether `path` is `directory` or lies in it. */
export function isWithin(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory === "/" ? "/" : `${directory}/`);
}
