/**
 * What the volumes of a pool are made of, behind one interface: a plain directory, a directory with a project quota, a
 * btrfs subvolume, or an image file on a loop device. The lifecycle (staging, rename, trash, records, locks) is the
 * same for all of them and lives elsewhere; a backend makes content, limits it, shows it and takes it apart.
 */
import type { VolumeRecord } from "../volume/record.ts";

/** The kinds that there are, as a volume's record names them. The pool setting `quota` means either of two. */
export const backendNames = ["directory", "quota", "btrfs", "image"] as const;
/** One of `backendNames`. */
export type BackendName = (typeof backendNames)[number];

/** How pods see a volume: as a mounted directory tree or as a block device. */
export type AccessType = "mount" | "block";

/** A volume with the place where its wrapper stands at the moment: `staging`, `volumes`, `snapshots` or `trash`. */
export interface PlacedVolume {
  /** The absolute path of the wrapper, root's and 0700. */
  readonly wrapper: string;
  readonly record: VolumeRecord;
}

/** What NodeStageVolume makes visible, and NodePublishVolume shows to the pod. */
export type VolumeSource =
  /** A directory to bind. */
  | { readonly kind: "directory"; readonly path: string }
  /** A block device that holds a file system, to be mounted once at the staging path. */
  | { readonly kind: "filesystem"; readonly device: string; readonly fsType: string }
  /** A block device that the pod gets as it is. */
  | { readonly kind: "block"; readonly device: string };

/** What a volume holds. `total` is the size that a pod sees, never the disk's where the backend limits. */
export interface VolumeUsage {
  readonly bytes: { readonly total: number; readonly used: number; readonly available: number };
  /** Absent for block volumes. */
  readonly inodes?: { readonly total: number; readonly used: number; readonly available: number };
}

/** Tells how far a long copy is; `totalBytes` is an estimate. */
export type OnProgress = (done: { readonly copiedBytes: number; readonly totalBytes: number }) => void;

/** What a copy is told by its caller. */
export interface CopyOptions {
  /** Looked at often: a copy that is given up stops within a second and throws `cancelled`. */
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
}

/** The content of volumes of one kind in one open pool. Every method may be repeated after a crash at any point. */
export interface Backend {
  readonly name: BackendName;
  /** One phrase for people, such as `XFS project quota`. */
  readonly how: string;
  /** Whether a writer is stopped at the volume's size. */
  readonly enforced: boolean;
  readonly accessTypes: readonly AccessType[];
  /** What `fsType` may ask for; empty where the volume has the file system of its pool. The first is the default. */
  readonly fsTypes: readonly string[];
  /** The smallest volume that can be made. */
  readonly minimumBytes: number;
  /** Sizes are multiples of this; a request is rounded up, unless its limit forbids that. */
  readonly granularityBytes: number;
  /** Whether a copy of a volume that is in use is of one moment. */
  readonly consistentCopies: boolean;

  /**
   * Makes empty content in a wrapper that stands in `staging` and holds nothing yet, with owner, mode and limit in
   * force, all of it synced but for the wrapper's own entry and what `unsynced` names. What it chose itself (`projectId`, `fsType`) it returns:
   * the record that is written next holds it. Throws `exhausted` where the disk is full, `unsupported` or `range` for
   * what this kind cannot be.
   */
  build(volume: PlacedVolume): Promise<Partial<VolumeRecord>>;
  /** What `build` leaves for its caller to sync, together with the record: on a slow disk they wait once instead of twice. */
  unsynced(volume: PlacedVolume): readonly string[];
  /** The same from another volume or snapshot of this pool; the size may be larger than the source's. */
  copy(volume: PlacedVolume, from: PlacedVolume, options: CopyOptions): Promise<Partial<VolumeRecord>>;
  /** When the pool is opened: puts the limit back in force, and reads back that it is. Throws what is wrong. */
  reinstate(volume: PlacedVolume): Promise<void>;
  /**
   * Puts the size of the record, which has been written before, in force; `mountPoint` is where the file system of a
   * staged image is mounted. Smaller than before is never asked for.
   */
  grow(volume: PlacedVolume, mountPoint: string | undefined): Promise<void>;
  /** Makes the content reachable (a loop device is attached) and says what to show. Repeatable. */
  attach(volume: PlacedVolume): Promise<VolumeSource>;
  /** What `attach` would give, without doing anything; undefined where it is not attached. */
  attached(volume: PlacedVolume): Promise<VolumeSource | undefined>;
  /** Undoes `attach`, when nothing shows the volume any more. Repeatable. */
  detach(volume: PlacedVolume): Promise<void>;
  /** `mountPoint` is a path where the volume is mounted. */
  usage(volume: PlacedVolume, mountPoint: string | undefined): Promise<VolumeUsage>;
  /** What is wrong with the volume, as one sentence for VolumeCondition; undefined where nothing is. Cheap. */
  problem(volume: PlacedVolume): Promise<string | undefined>;
  /** Takes apart what `removeTree` cannot, such as a subvolume, a limit or a loop device; the wrapper stands in trash. */
  dismantle(wrapper: string): Promise<void>;
}
