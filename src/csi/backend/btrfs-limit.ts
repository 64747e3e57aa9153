/**
 * The limit of a subvolume and of those that a tenant made in it. Any user may make a subvolume where it may write, and
 * it has a quota group of its own that no limit of the outer one reaches, in neither mode of quotas. So whenever a
 * volume is looked at, each inner one is limited to what it holds by then, and the outer one to the rest: together they
 * stay within the volume's size, and what is written into a new one between two looks is found at the next.
 */
import { isKind } from "../../errors.ts";
import type { Btrfs } from "../../host/btrfs.ts";

/** An empty subvolume holds one node of metadata. */
const NODE_BYTES = 65_536;

/** Puts the limits in force, where they are not yet, and reads back that they are; says what is wrong. */
export async function limitTree(btrfs: Btrfs, data: string, sizeBytes: number): Promise<string | undefined> {
  const id = await btrfs.subvolume(data);
  if (id === undefined) return `${data} is no subvolume`;
  const { mode } = await btrfs.quotaState(data);
  if (mode === "off") return `quotas of the file system are off: run "btrfs quota enable ${data}"`;
  let left = sizeBytes;
  for (const inner of await btrfs.nested(data, id)) {
    const held = Math.max(NODE_BYTES, (await btrfs.qgroup(data, inner))?.referencedBytes ?? 0);
    left -= held;
    const wrong = await limitOne(btrfs, { data, id: inner, bytes: held });
    if (wrong !== undefined) return wrong;
  }
  return limitOne(btrfs, { data, id, bytes: Math.max(NODE_BYTES, left) });
}

interface Limit {
  readonly data: string;
  readonly id: number;
  readonly bytes: number;
}

async function limitOne(btrfs: Btrfs, { data, id, bytes }: Limit): Promise<string | undefined> {
  if ((await btrfs.qgroup(data, id))?.maxReferencedBytes === bytes) return undefined;
  try {
    await btrfs.limit(data, id, bytes);
  } catch (error) {
    if (!isKind(error, "not-found")) throw error;
    return `subvolume ${id} has no quota group: run "btrfs quota enable ${data}" and "btrfs quota rescan -w ${data}"`;
  }
  const set = (await btrfs.qgroup(data, id))?.maxReferencedBytes;
  return set === bytes ? undefined : `the limit of subvolume ${id} is ${set ?? "none"}, not ${bytes} bytes`;
}

/** What the subvolume and those in it reference together, as of the last commit. */
export async function usageOfTree(btrfs: Btrfs, data: string): Promise<number> {
  const id = await btrfs.subvolume(data);
  if (id === undefined) return 0;
  let bytes = 0;
  for (const each of [...(await btrfs.nested(data, id)), id]) {
    bytes += (await btrfs.qgroup(data, each))?.referencedBytes ?? 0;
  }
  return bytes;
}

/**
 * Where the kernel has stopped counting, as it does when a large subvolume is dropped, limits are not in force until a
 * rescan: starts one, unless one is running, and says so.
 */
export async function keepCounting(btrfs: Btrfs, path: string): Promise<string | undefined> {
  const { mode, consistent, rescanning } = await btrfs.quotaState(path);
  if (mode !== "full" || consistent) return undefined;
  if (!rescanning) {
    await btrfs.rescan(path).catch((error) => {
      if (!isKind(error, "busy", "precondition") && !isRunning(error)) throw error;
    });
  }
  return "the file system counts its quotas anew: until that is over limits may not be kept";
}

/** The kernel answers EINPROGRESS, which is no kind of its own. */
function isRunning(error: unknown): boolean {
  return error instanceof Error && error.message.endsWith("EINPROGRESS");
}
