/**
 * What the mount table says about volumes. Publish state is stored nowhere else, so that nothing can disagree with
 * it. Pure. Paths here have no symbolic links in them, as in the table.
 */
import { posix } from "node:path";
import type { MountInfo } from "../../host/mount.ts";
import type { VolumeSource } from "../backend/backend.ts";

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

/** Says of a line of the table whether it shows one volume, all of it. */
export type ShowsVolume = (mount: MountInfo) => boolean;

/** File systems that hold device nodes. */
const deviceFileSystems = ["devtmpfs", "tmpfs"];

/** What shows a volume that is reachable as `source`. */
export function showsSource(table: readonly MountInfo[], source: VolumeSource): ShowsVolume {
  if (source.kind === "filesystem") return (mount) => mount.source === source.device && mount.root === "/";
  if (source.kind === "block") {
    const name = posix.basename(source.device);
    return ({ fsType, root }) => deviceFileSystems.includes(fsType) && posix.basename(root) === name;
  }
  const place = placeOf(table, source.path);
  return ({ device, root }) => device === place?.device && root === place.root;
}

/** Where the volume is shown beside `path`, all of it. */
export function shownBeside(
  table: readonly MountInfo[],
  source: VolumeSource,
  path: string | undefined,
): string | undefined {
  const shows = showsSource(table, source);
  return table.find((mount) => shows(mount) && mount.mountPoint !== path)?.mountPoint;
}

/**
 * The mounts that show a volume or a directory within it, such as the kubelet's for `subPath`; of what is mounted from a
 * device every mount is of the volume.
 */
export function mountsWithin(table: readonly MountInfo[], source: VolumeSource): readonly MountInfo[] {
  if (source.kind === "filesystem") return table.filter((mount) => mount.source === source.device);
  if (source.kind === "block") return table.filter(showsSource(table, source));
  const place = placeOf(table, source.path);
  return table.filter(
    ({ device, root }) => device === place?.device && place !== undefined && isWithin(root, place.root),
  );
}

/** Whether `path` is `directory` or lies in it. */
export function isWithin(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory === "/" ? "/" : `${directory}/`);
}
