/**
 * An image as a copy of another, as it was at one moment: the writers of a mounted one stand still meanwhile, which is a
 * blink where the pool's file system shares content between files. The copy gets an identity of its own, since two file
 * systems of one identity confuse the kernel, and then the size that was asked for.
 */
import { join } from "node:path";
import { isKind, withCleanupFailure } from "../../../errors.ts";
import type { ImageFsType } from "../../../host/image-content.ts";
import { invalid, refusal } from "../../refusal.ts";
import { isMissing } from "../../volume/read.ts";
import type { VolumeRecord } from "../../volume/record.ts";
import type { CopyOptions, PlacedVolume } from "../backend.ts";
import {
  accessOf,
  extendImage,
  fsTypeOf,
  growUnmounted,
  type ImageDeps,
  imageOf,
  withFileSystem,
} from "./content.ts";

/** What is copied, and how. */
export interface ImageCopy {
  readonly volume: PlacedVolume;
  readonly from: PlacedVolume;
  readonly preallocate: boolean;
  readonly options: CopyOptions;
}

/** A writer waits no longer than this; then the copy is given up, and says what would help. */
const MAX_FROZEN_MS = 60_000;
const MARK_MODE = 0o600;

/** Where it is written that writers stand still, for a start after a crash. */
function markOf({ wrapper }: PlacedVolume): string {
  return join(wrapper, "frozen");
}

/** Makes the copy, with all that is its own; the wrapper of `volume` holds nothing yet. */
export async function copyImage(deps: ImageDeps, copy: ImageCopy): Promise<Partial<VolumeRecord>> {
  const { volume, from, preallocate } = copy;
  const { files, images } = deps;
  const [image, source] = [imageOf(volume), imageOf(from)];
  if (accessOf(volume.record) !== accessOf(from.record)) {
    throw refusal(
      "precondition",
      from.record.id,
      "a raw block volume is no source for a mounted one, nor vice versa",
    );
  }
  const { sizeBytes } = await files.stat(source);
  if (volume.record.sizeBytes < sizeBytes) {
    throw refusal(
      "range",
      volume.record.id,
      `a copy of ${from.record.id} has at least its ${sizeBytes} bytes`,
    );
  }
  const { inodes } = volume.record;
  if (inodes !== undefined && inodes !== from.record.inodes) {
    const why = `is ${inodes}, but a copy of an image has as many inodes as its source: leave it out`;
    throw invalid("parameters.inodes", why);
  }
  await takeContent(deps, copy);
  const isBlock = accessOf(from.record) === "block";
  const fsType = isBlock ? undefined : fsTypeOf(from.record);
  if (fsType) await renew(deps, { volume: { ...volume, record: { ...volume.record, fsType } }, fsType });
  await extendImage(deps, volume, preallocate);
  if (preallocate) await images.reserve(image);
  if (fsType && volume.record.sizeBytes > sizeBytes) {
    await growUnmounted(deps, { ...volume, record: { ...volume.record, fsType } });
  }
  await files.sync(image);
  return fsType ? { fsType } : {};
}

/** Lets the writers of a volume go on, if a crash came while they were stopped for a copy. */
export async function thawAfterCrash(deps: ImageDeps, volume: PlacedVolume): Promise<void> {
  if (await isMissing(deps.files, markOf(volume))) return;
  const mountPoint = await mountPointOf(deps, volume);
  if (mountPoint !== undefined) await deps.freezer.thaw(mountPoint);
  await deps.files.unlink(markOf(volume));
}

async function takeContent(deps: ImageDeps, { volume, from, options }: ImageCopy): Promise<void> {
  const [source, image] = [imageOf(from), imageOf(volume)];
  const copyBytes = async (signal: AbortSignal) => {
    await deps.images.share(source, image).catch(async (error) => {
      if (!isKind(error, "unsupported")) throw error;
      const { sizeBytes } = await deps.files.stat(source);
      await deps.copier.file(source, image, {
        signal,
        onProgress: ({ copiedBytes }) => options.onProgress({ copiedBytes, totalBytes: sizeBytes }),
      });
    });
  };
  const mountPoint = await mountPointOf(deps, from);
  if (mountPoint !== undefined) {
    await whileStill(deps, from, mountPoint, (signal) =>
      copyBytes(AbortSignal.any([signal, options.signal])),
    );
    return;
  }
  const device = await deviceInUse(deps, from);
  if (device === undefined) return copyBytes(options.signal);
  await deps.images.share(source, image).catch((error) => {
    if (!isKind(error, "unsupported")) throw error;
    throw refusal(
      "precondition",
      from.record.id,
      `${from.record.id} is still in use on ${device}, where its writers cannot be stopped: its pool can copy it at one moment only on XFS or btrfs; stop its pod`,
      error,
    );
  });
}

/**
 * The device of a volume that is not mounted, but written by whoever has it open: a raw one, or one that other mount
 * namespaces still show. What nobody uses, such as what a crash left attached, is detached.
 */
async function deviceInUse({ loops }: ImageDeps, volume: PlacedVolume): Promise<string | undefined> {
  const device = await loops.find(imageOf(volume));
  if (!device) return undefined;
  return accessOf(volume.record) === "mount" && (await loops.detach(imageOf(volume)))
    ? undefined
    : device.path;
}

/** The mark comes first: a process that is killed with all its children is to find it when it starts again. */
async function whileStill(
  { files, freezer }: ImageDeps,
  from: PlacedVolume,
  mountPoint: string,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const mark = markOf(from);
  if (await isMissing(files, mark)) await files.create(mark, Buffer.alloc(0), MARK_MODE);
  try {
    await freezer.whileFrozen(mountPoint, MAX_FROZEN_MS, work);
  } catch (error) {
    await files.unlink(mark).catch((cleanup) => withCleanupFailure(error, cleanup));
    throw explain(error, from.record.id);
  }
  await files.unlink(mark);
}

function explain(error: unknown, id: string): unknown {
  if (!isKind(error, "deadline")) return error;
  const message = `${id} is too large to be copied while it is in use on this pool: stop its pod, or use a pool on XFS or btrfs`;
  return refusal("precondition", id, message, error);
}

/** A place where the file system of an attached image is mounted. */
async function mountPointOf({ loops, mounts }: ImageDeps, volume: PlacedVolume): Promise<string | undefined> {
  if (accessOf(volume.record) === "block") return undefined;
  const device = await loops.find(imageOf(volume));
  if (!device) return undefined;
  return (await mounts.list()).find(({ source }) => source === device.path)?.mountPoint;
}

interface Renewal {
  readonly volume: PlacedVolume;
  readonly fsType: ImageFsType;
}

/** Brings the file system in order as after a power cut, for the tools want it so, and gives it a new identity. */
async function renew(deps: ImageDeps, { volume, fsType }: Renewal): Promise<void> {
  const { images, imageFileSystems } = deps;
  const image = imageOf(volume);
  const content = await images.inspect(image);
  if (content?.fsType !== fsType)
    throw refusal("precondition", image, `${image} is to hold ${fsType}, and does not`);
  if (!content.clean && fsType === "ext4") await imageFileSystems.repair(image, fsType);
  if (!content.clean && fsType !== "ext4") await withFileSystem(deps, volume, async () => undefined);
  await imageFileSystems.renew(image, fsType);
}
