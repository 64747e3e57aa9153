/** Where things lie in a pool. All of it on one file system, so that a rename is one step. */
import { join } from "node:path";
import type { VolumeId } from "../volume/id.ts";

/** Root's: other users of the host never get as far as the tenant's own modes. */
export const WRAPPER_MODE = 0o700;
/** Root's, as all that the driver writes for itself. */
export const RECORD_MODE = 0o600;

/** The directories of one pool. `root` has no symbolic links in it: mountinfo names it like that. */
export interface PoolLayout {
  readonly root: string;
  /** `.pool`, the driver's own corner. */
  readonly own: string;
  readonly identity: string;
  /** Volumes under construction: garbage whenever nobody is at work on them. */
  readonly staging: string;
  /** Volumes that were deleted and are not gone yet. */
  readonly trash: string;
  /** Volumes that were released and are kept for the administrator, as their class says. */
  readonly retained: string;
  /** What is in here is whole. */
  readonly volumes: string;
  /** So is what is in here. */
  readonly snapshots: string;
  /** Symbolic links for people; nothing is ever found through them. */
  readonly byName: string;
}

/** The layout of the pool at `root`. Pure: makes nothing. */
export function poolLayout(root: string): PoolLayout {
  const own = join(root, ".pool");
  return {
    root,
    own,
    identity: join(own, "pool.json"),
    staging: join(own, "staging"),
    trash: join(own, "trash"),
    retained: join(own, "retained"),
    volumes: join(root, "volumes"),
    snapshots: join(root, "snapshots"),
    byName: join(root, "by-name"),
  };
}

/** The directories that every open pool has. */
export function ownDirectories({ own, staging, trash, retained, volumes, snapshots }: PoolLayout): string[] {
  return [own, staging, trash, retained, volumes, snapshots];
}

/** The wrapper of a volume that is there. */
export function wrapperOf({ volumes }: PoolLayout, id: VolumeId): string {
  return join(volumes, id);
}

/** What is in the wrapper of a volume, wherever the wrapper stands at the moment. */
export function wrapperLayout(wrapper: string): { readonly record: string; readonly data: string } {
  return { record: join(wrapper, "meta.json"), data: join(wrapper, "data") };
}

/**
 * The volume that a mount shows, read from the root of the mount within its file system: it names the volume also
 * when the pool is away or its directory was deleted under the mount.
 */
export function volumeOfMountRoot(root: string): string | undefined {
  return /\/volumes\/(tv-[a-z2-7-]+)\/data(?:\/\/deleted)?$/.exec(root)?.[1];
}
