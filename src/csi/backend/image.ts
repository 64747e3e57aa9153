/**
 * A volume as an image file on a loop device: a file system of its own, or a raw block device. Its size is a wall that no
 * writer passes. With `preallocate` its space is its own too; a sparse image can find its pool full.
 */
import type { Log } from "../../observe/log.ts";
import { refusal } from "../refusal.ts";
import { isMissing } from "../volume/read.ts";
import type { Backend, PlacedVolume, VolumeSource, VolumeUsage } from "./backend.ts";
import {
  accessOf,
  extendImage,
  fsTypeOf,
  GRANULARITY_BYTES,
  type ImageDeps,
  imageOf,
  loopOptionsOf,
  MINIMUM_BYTES,
  makeFileSystem,
  planFileSystem,
  prepareFileSystem,
} from "./image/content.ts";
import { copyImage, thawAfterCrash } from "./image/copy.ts";
import { problemOf } from "./image/problem.ts";

/** How the images of a pool are made. */
export interface ImageSettings {
  /** Whether an image gets all its space when it is made. It holds for present images from their next attachment on. */
  readonly preallocate: boolean;
  readonly log: Log;
}

/** The backend of images. */
export function createImageBackend(deps: ImageDeps, settings: ImageSettings): Backend {
  const { files, images, loops } = deps;
  const { preallocate } = settings;
  const attached = async (volume: PlacedVolume): Promise<VolumeSource | undefined> => {
    if (await isMissing(files, imageOf(volume))) return undefined;
    const device = await loops.find(imageOf(volume));
    return device && sourceOf(volume, device.path);
  };
  return {
    ...{ name: "image", enforced: true, consistentCopies: true },
    how: preallocate
      ? "preallocated image files on loop devices"
      : "sparse image files on loop devices, which can find the pool full",
    ...{ accessTypes: ["mount", "block"], fsTypes: ["ext4", "xfs", "btrfs"] },
    ...{ minimumBytes: MINIMUM_BYTES, granularityBytes: GRANULARITY_BYTES },
    async build(volume) {
      const { record } = volume;
      const image = imageOf(volume);
      const fsType = planFileSystem(record);
      await images.create(image, record.sizeBytes);
      if (fsType) await makeFileSystem(deps, volume, fsType);
      if (preallocate) await images.reserve(image);
      await files.sync(image);
      return fsType ? { fsType } : {};
    },
    unsynced: () => [],
    copy: (volume, from, options) => copyImage(deps, { volume, from, preallocate, options }),
    async reinstate(volume) {
      await requireImage(deps, volume);
      await thawAfterCrash(deps, volume);
      if (!(await extendImage(deps, volume, preallocate))) return;
      const device = await loops.known(imageOf(volume));
      if (device) await loops.refresh(device.path);
    },
    grow: (volume, mountPoint) => grow(deps, volume, { mountPoint, preallocate }),
    attach: (volume) => attach(deps, settings, volume),
    attached,
    detach: (volume) => detach(deps, volume),
    usage: (volume, mountPoint) => usageOf(deps, volume, mountPoint),
    problem: (volume) => problemOf(deps, volume),
    async dismantle(wrapper) {
      const image = imageOf({ wrapper });
      if (await isMissing(files, image)) return;
      const device = await loops.known(image);
      if (!device) return;
      await requireUnmounted(deps, device.path);
      if (await loops.detach(image)) return;
      const why = `${image} is still in use on ${device.path}, by another mount namespace or as a raw device`;
      throw refusal("precondition", image, why);
    },
  };
}

function sourceOf({ record }: PlacedVolume, device: string): VolumeSource {
  if (accessOf(record) === "block") return { kind: "block", device };
  return { kind: "filesystem", device, fsType: fsTypeOf(record) };
}

async function attach(deps: ImageDeps, settings: ImageSettings, volume: PlacedVolume): Promise<VolumeSource> {
  const { loops, images } = deps;
  const { preallocate, log } = settings;
  const { record } = volume;
  const image = imageOf(volume);
  await requireImage(deps, volume);
  const extended = await extendImage(deps, volume, preallocate);
  const present = await loops.find(image);
  if (!present) {
    // What was discarded, or made while the pool was sparse, gets its space before anybody counts on it.
    if (preallocate) await images.reserve(image);
    if (accessOf(record) === "mount") await prepareFileSystem(deps, volume);
  }
  const device = await loops.attach(image, loopOptionsOf(record, preallocate));
  if (present && extended) await loops.refresh(device.path);
  if (!present && !device.directIo) {
    log.warn(
      "image attached without direct I/O: the disk or its file system has none; its blocks are cached twice",
      {
        ...{ volume: record.id, device: device.path },
      },
    );
  }
  return sourceOf(volume, device.path);
}

/**
 * What we mounted must be unmounted. What others have a copy of, such as a container that was started before, is no reason
 * to fail: the device goes with the last of them, and until then it is found by its file when it is wanted again.
 */
async function detach(deps: ImageDeps, volume: PlacedVolume): Promise<void> {
  const image = imageOf(volume);
  if (await isMissing(deps.files, image)) return;
  const device = await deps.loops.known(image);
  if (device) await requireUnmounted(deps, device.path);
  await deps.loops.detach(image);
}

async function requireUnmounted({ mounts }: ImageDeps, device: string): Promise<void> {
  const mount = (await mounts.list()).find(({ source }) => source === device);
  if (!mount) return;
  throw refusal("precondition", device, `${device} is mounted at ${mount.mountPoint}: unmount it first`);
}

interface Growth {
  readonly mountPoint: string | undefined;
  readonly preallocate: boolean;
}

async function grow(
  deps: ImageDeps,
  volume: PlacedVolume,
  { mountPoint, preallocate }: Growth,
): Promise<void> {
  const { loops, imageFileSystems } = deps;
  const { record } = volume;
  await requireImage(deps, volume);
  await extendImage(deps, volume, preallocate);
  const device = await loops.find(imageOf(volume));
  if (device) await loops.refresh(device.path);
  if (accessOf(record) === "block") return;
  const enlarge = (root: string) => imageFileSystems.grow(root, fsTypeOf(record), record.sizeBytes);
  if (mountPoint !== undefined) {
    await requireMountOf(deps, mountPoint, device?.path);
    await enlarge(mountPoint);
  } else if (device) {
    const opened = await imageFileSystems.open(device.path, fsTypeOf(record));
    await enlarge(opened.path).finally(opened.close);
  } else {
    await prepareFileSystem(deps, volume);
    await deps.files.sync(imageOf(volume));
  }
}

/** The file system at `mountPoint` is asked to grow: it must be this volume's, and not the node's. */
async function requireMountOf(
  { mounts }: ImageDeps,
  mountPoint: string,
  device: string | undefined,
): Promise<void> {
  const mount = (await mounts.list()).findLast((line) => line.mountPoint === mountPoint);
  if (device !== undefined && mount?.source === device) return;
  const shown = mount ? mount.source : "nothing";
  throw refusal(
    "precondition",
    mountPoint,
    `${mountPoint} shows ${shown}, not the volume's ${device ?? "image, which is not attached"}`,
  );
}

async function requireImage({ files }: ImageDeps, volume: PlacedVolume): Promise<void> {
  const image = imageOf(volume);
  const kind = (await isMissing(files, image)) ? "missing" : (await files.stat(image)).kind;
  if (kind === "file") return;
  throw refusal("precondition", image, `${image}, the image of the volume, is no file (${kind})`);
}

async function usageOf(
  { files }: ImageDeps,
  { record }: PlacedVolume,
  mountPoint: string | undefined,
): Promise<VolumeUsage> {
  // Nobody but its user knows what of a raw device is in use, and of a file system only while it is mounted.
  if (accessOf(record) === "block" || mountPoint === undefined) {
    return { bytes: { total: record.sizeBytes, used: 0, available: record.sizeBytes } };
  }
  const { totalBytes, freeBytes, availableBytes, totalInodes, freeInodes } = await files.space(mountPoint);
  return {
    bytes: { total: totalBytes, used: totalBytes - freeBytes, available: availableBytes },
    inodes: { total: totalInodes, used: totalInodes - freeInodes, available: freeInodes },
  };
}
