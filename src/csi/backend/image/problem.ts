/** What can be wrong with an image: the file, its loop device, the file system on it. Looks, and changes nothing. */
import { isMissing } from "../../volume/read.ts";
import type { PlacedVolume } from "../backend.ts";
import { type ImageDeps, imageOf } from "./content.ts";

/** One sentence for people, undefined where nothing is wrong. Cheap: it does not look at the devices of others. */
export async function problemOf(deps: ImageDeps, volume: PlacedVolume): Promise<string | undefined> {
  const { files, loops, mounts } = deps;
  const image = imageOf(volume);
  if (await isMissing(files, image)) return `${image}, the image of the volume, is missing`;
  const { kind, sizeBytes } = await files.stat(image);
  if (kind !== "file") return `${image}, the image of the volume, is no file (${kind})`;
  if (sizeBytes < volume.record.sizeBytes) {
    return `the image of the volume has ${sizeBytes} bytes of ${volume.record.sizeBytes}: expand the volume again`;
  }
  const device = await loops.known(image);
  if (!device) return undefined;
  // The file system turned itself read-only, whereas the mount is still for writing.
  const stopped = (await mounts.list()).some(
    ({ source, options, superOptions }) =>
      source === device.path && superOptions.includes("ro") && !options.includes("ro"),
  );
  if (!stopped) return undefined;
  return `the file system of the volume met an error and became read-only: unmount it everywhere, it is then checked at its next use`;
}
