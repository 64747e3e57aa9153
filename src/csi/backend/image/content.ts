/**
 * What is within an image: a file system, made, opened for a moment and made larger where nobody sees it, or nothing at
 * all. A crash in between leaves no loop device and no mount: both go with the process.
 */
import { join } from "node:path";
import { isKind, withCleanupFailure } from "../../../errors.ts";
import type { Copier } from "../../../host/copy-tree.ts";
import type { Files } from "../../../host/files.ts";
import type { Freezer } from "../../../host/freeze.ts";
import type { ImageFsType } from "../../../host/image-content.ts";
import type { ImageFiles } from "../../../host/image-file.ts";
import type { Loops } from "../../../host/loop.ts";
import type { ImageFileSystems } from "../../../host/mkfs.ts";
import type { Mounts } from "../../../host/mount.ts";
import { invalid, refusal } from "../../refusal.ts";
import type { VolumeRecord } from "../../volume/record.ts";
import type { AccessType, PlacedVolume } from "../backend.ts";
import { setTopDirectory } from "../top-directory.ts";

/** Host effects of this kind. */
export interface ImageDeps {
  readonly files: Files;
  readonly mounts: Mounts;
  readonly loops: Loops;
  readonly images: ImageFiles;
  readonly imageFileSystems: ImageFileSystems;
  readonly copier: Copier;
  readonly freezer: Freezer;
}

const MIB = 2 ** 20;
/** With all that each has to write about itself, some room is left. */
const minimumBytes: Readonly<Record<ImageFsType, number>> = {
  ext4: 16 * MIB,
  xfs: 300 * MIB,
  btrfs: 256 * MIB, // the kernel resizes none that is smaller
};
/** The smallest of all, raw volumes too. */
export const MINIMUM_BYTES = 16 * MIB;
/** Every file system here has blocks of this size, and so every disk can serve them without the page cache. */
export const GRANULARITY_BYTES = 4096;
/** A file system may leave so much of its image unused: the rest of a group that is too small to be one. */
const UNUSED_BYTES = 4 * MIB;

/** The image file of a volume, wherever its wrapper stands. */
export function imageOf({ wrapper }: Pick<PlacedVolume, "wrapper">): string {
  return join(wrapper, "disk.img");
}

/** How the pod sees it. */
export function accessOf({ access = "mount" }: VolumeRecord): AccessType {
  return access;
}

/** The file system that the record names. Throws `unsupported` for one that images are not made with. */
export function fsTypeOf({ id, fsType = "ext4" }: VolumeRecord): ImageFsType {
  if (fsType === "ext4" || fsType === "xfs" || fsType === "btrfs") return fsType;
  throw refusal("unsupported", id, `no image has the file system "${fsType}": use ext4, xfs or btrfs`);
}

/** How the image is shown; the same for as long as it lives, since what is in it depends on the block size. */
export function loopOptionsOf(record: VolumeRecord, preallocate: boolean) {
  return { blockSize: accessOf(record) === "block" ? 512 : 4096, discard: !preallocate } as const;
}

/** The file system that is to be made, none for a raw volume; `range` or `invalid` for what it cannot be. */
export function planFileSystem(record: VolumeRecord): ImageFsType | undefined {
  const fsType = accessOf(record) === "block" ? undefined : fsTypeOf(record);
  if (fsType && record.sizeBytes < minimumBytes[fsType]) {
    const least = minimumBytes[fsType] / MIB;
    throw refusal("range", record.id, `a volume with ${fsType} has at least ${least} MiB`);
  }
  if (record.inodes !== undefined && fsType !== "ext4") {
    const why = `is ${record.inodes}, but only ext4 has a number of inodes that can be set, not ${fsType ?? "a raw volume"}: leave it out`;
    throw invalid("parameters.inodes", why);
  }
  return fsType;
}

/** An empty file system, with the owner and mode of the record. */
export async function makeFileSystem(
  deps: ImageDeps,
  volume: PlacedVolume,
  fsType: ImageFsType,
): Promise<void> {
  const { record } = volume;
  const { inodes } = record;
  await deps.imageFileSystems.make(imageOf(volume), { fsType, ...(inodes === undefined ? {} : { inodes }) });
  await withFileSystem(deps, volume, async (root) => {
    await setTopDirectory(deps.files, root, record);
    // A new volume is empty: some programs refuse a directory that is not. A check makes it again if it needs it.
    await deps.files.rmdir(join(root, "lost+found")).catch((error) => {
      if (!isKind(error, "not-found")) throw error;
    });
  });
}

/** Opens the file system of a volume that is attached nowhere, for as long as `act` takes. */
export async function withFileSystem<T>(
  { loops, imageFileSystems }: ImageDeps,
  volume: PlacedVolume,
  act: (root: string) => Promise<T>,
): Promise<T> {
  const { record } = volume;
  const device = await loops.hold(imageOf(volume), loopOptionsOf(record, false));
  return closing(
    () => device.release(),
    async () => {
      const opened = await imageFileSystems.open(device.path, fsTypeOf(record));
      return closing(opened.close, () => act(opened.path));
    },
  );
}

/** The file becomes as large as the record says, and has its space where that is promised. Tells whether it was smaller. */
export async function extendImage(
  { files, images }: ImageDeps,
  volume: PlacedVolume,
  reserve: boolean,
): Promise<boolean> {
  const image = imageOf(volume);
  const { sizeBytes } = volume.record;
  if ((await files.stat(image)).sizeBytes >= sizeBytes) return false;
  await images.extend(image, sizeBytes, { reserve });
  await files.sync(image);
  return true;
}

/**
 * Before a file system is shown: it is whole, and as large as its image; a crash may have come before either. The image is
 * attached nowhere.
 */
export async function prepareFileSystem(deps: ImageDeps, volume: PlacedVolume): Promise<void> {
  const { images, imageFileSystems, files } = deps;
  const image = imageOf(volume);
  const fsType = fsTypeOf(volume.record);
  const content = await images.inspect(image);
  if (content?.fsType !== fsType) {
    const found = content ? `it holds ${content.fsType}` : "none is found";
    throw refusal("precondition", image, `${image} is to hold the file system ${fsType}: ${found}`);
  }
  if (!content.clean) await imageFileSystems.repair(image, fsType);
  const { sizeBytes } = await files.stat(image);
  if (sizeBytes - content.sizeBytes <= UNUSED_BYTES) return;
  await growUnmounted(deps, volume);
}

/** The file system becomes as large as its image, which is attached nowhere. */
export async function growUnmounted(deps: ImageDeps, volume: PlacedVolume): Promise<void> {
  const { files, imageFileSystems } = deps;
  const fsType = fsTypeOf(volume.record);
  const { sizeBytes } = await files.stat(imageOf(volume));
  const image = imageOf(volume);
  try {
    await withFileSystem(deps, volume, (root) => imageFileSystems.grow(root, fsType, sizeBytes));
  } catch (error) {
    if (fsType !== "ext4" || !isKind(error, "precondition")) throw error;
    await imageFileSystems.growUnmounted(image);
  }
}

/** Runs `close` whatever comes of `act`; a failure of both is that of `act`. */
async function closing<T>(close: () => Promise<void>, act: () => Promise<T>): Promise<T> {
  let result: T;
  try {
    result = await act();
  } catch (error) {
    await close().catch((cleanup) => withCleanupFailure(error, cleanup));
    throw error;
  }
  await close();
  return result;
}
