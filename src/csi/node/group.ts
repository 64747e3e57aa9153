/**
 * VOLUME_MOUNT_GROUP: the group of a pod gets the top directory of its volume, and whatever is made in it. Only that
 * directory is touched: a volume of a million files is ready as fast as an empty one.
 */
import type { Files } from "../../host/files.ts";
import { refusal } from "../refusal.ts";

const GROUP_BITS = 0o2070;

/** The top directory of one volume, wanted for a group. */
export interface GroupWish {
  /** Where no tenant can put anything else: in the volume's wrapper, or the root of its own mount. */
  readonly top: string;
  readonly group: number | undefined;
  /** Where the volume is published already. */
  readonly publishedAt: string | undefined;
}

/**
 * Done before the pod sees the volume. A volume that another pod has already keeps its group: `precondition` for a
 * second one, since the first pod would lose its files.
 */
export async function applyGroup(files: Files, { top, group, publishedAt }: GroupWish): Promise<void> {
  if (group === undefined) return;
  const { gid, mode } = await files.stat(top);
  if (gid === group && (mode & GROUP_BITS) === GROUP_BITS) return;
  if (gid !== group && publishedAt !== undefined) {
    const message = `the volume is published at ${publishedAt} for group ${gid}, so it cannot be given to group ${group}`;
    throw refusal("precondition", top, message);
  }
  await files.setGroup(top, group);
}
