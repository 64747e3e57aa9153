/** The top directory of a volume: what its class says about owner and mode. Shared by every kind that shows a tree. */
import type { Files } from "../../host/files.ts";
import type { VolumeRecord } from "../volume/record.ts";

/** Any user of a pod can write: who reaches the volume at all is the wrapper's and the mount's affair. */
export const DEFAULT_MODE = 0o777;

/** Owner and mode that the record asks for. */
export function ownerOf({ owner }: VolumeRecord): NonNullable<VolumeRecord["owner"]> {
  return owner ?? { mode: DEFAULT_MODE, uid: 0, gid: 0 };
}

/** Makes the directory, not synced yet. */
export async function makeTopDirectory(files: Files, path: string, record: VolumeRecord): Promise<void> {
  const { mode, uid, gid } = ownerOf(record);
  await files.mkdir(path, mode);
  if (uid !== 0 || gid !== 0) await files.setOwner(path, uid, gid);
}

/** The same for a directory that is there, such as the root of a file system within an image. */
export async function setTopDirectory(files: Files, path: string, record: VolumeRecord): Promise<void> {
  const { mode, uid, gid } = ownerOf(record);
  await files.setOwner(path, uid, gid);
  await files.setMode(path, mode);
}
