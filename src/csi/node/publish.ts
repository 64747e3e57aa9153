/**
 * NodePublishVolume and NodeUnpublishVolume below the edge. What is mounted is read from the mount table before every
 * decision; a bind mount appears with all its flags at once, so that a crash leaves it there or not.
 */
import { withCleanupFailure } from "../../errors.ts";
import type { Files } from "../../host/files.ts";
import type { BindOptions, MountInfo, Mounts } from "../../host/mount.ts";
import type { Capability } from "../capability.ts";
import { volumeOfMountRoot } from "../pool/layout.ts";
import { refusal } from "../refusal.ts";
import { mountsAt, mountsOf, type Place, placeOf } from "./mount-state.ts";
import { makeTarget, parentExists, removeTarget, type Target, targetExists } from "./target.ts";

/** The effects of showing a volume and taking it away. */
export interface PublishDeps {
  readonly files: Files;
  readonly mounts: Mounts;
}

/** One volume, wanted at one target. */
export interface Publication {
  /** The directory of the volume, without symbolic links. */
  readonly source: string;
  readonly target: Target;
  readonly capability: Capability;
  readonly readOnly: boolean;
}

/** The options that tell two publications apart; the kernel keeps others, such as relatime. */
const compared = ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime"];
/** More mounts than anybody stacks: something keeps mounting while we unmount. */
const MAX_STACKED = 64;

/**
 * What is still to be done: nothing, or this bind mount. Throws `conflict` where the target is taken, `precondition`
 * for a second target of a single writer (specification, "NodePublishVolume").
 */
export function planPublish(mounts: readonly MountInfo[], wanted: Publication): BindOptions | undefined {
  const { source, target, capability } = wanted;
  const place = placeOf(mounts, source);
  if (!place) throw refusal("io", source, `the mount table does not say where ${source} lies`);
  const options = { readOnly: wanted.readOnly || capability.readOnly, flags: capability.flags };
  const top = mountsAt(mounts, target.path).at(-1);
  if (top) {
    const isOurs = top.device === place.device && top.root === place.root;
    if (isOurs && hasOptions(top, options, place)) return undefined;
    const how = isOurs ? `with ${top.options.join(",")}` : `from ${top.root}`;
    throw refusal("conflict", target.path, `${target.path} is mounted already, ${how}`);
  }
  const [other] = mountsOf(mounts, place);
  if (other && capability.accessMode === "SINGLE_NODE_SINGLE_WRITER") {
    throw refusal(
      "precondition",
      target.path,
      `the volume has a single writer and is published at ${other.mountPoint}`,
    );
  }
  return options;
}

function hasOptions(mount: MountInfo, { readOnly, flags }: BindOptions, place: Place): boolean {
  const expected = new Set<string>([...flags, ...place.options, ...(readOnly ? ["ro"] : [])]);
  return compared.every((option) => mount.options.includes(option) === expected.has(option));
}

/** Mounts the volume unless that is done already. Whatever fails, what this call made is taken back. */
export async function publish(deps: PublishDeps, wanted: Publication): Promise<void> {
  const { files, mounts } = deps;
  const options = planPublish(await mounts.list(), wanted);
  if (!options) return;
  const { target, source } = wanted;
  const existed = await targetExists(files, target);
  try {
    if (!existed) await makeTarget(files, target);
    await mounts.bind(source, target.path, options);
  } catch (error) {
    const undo = async () => {
      // Nothing was mounted here a moment ago, so what is there now is the mount that was reported as failed.
      if (mountsAt(await mounts.list(), target.path).length > 0) await mounts.unmount(target.path);
      if (!existed) await removeTarget(files, target.path);
    };
    await undo().catch((cleanup) => withCleanupFailure(error, cleanup));
    throw error;
  }
}

/** Unmounts until the table shows nothing at the target, then removes the empty directory. */
export async function unpublish(deps: PublishDeps, volumeId: string, target: Target): Promise<void> {
  const { files, mounts } = deps;
  if (!(await parentExists(files, target))) return;
  let stacked = mountsAt(await mounts.list(), target.path);
  requireVolume(stacked, volumeId, target.path);
  for (let count = 0; stacked.length > 0; count++) {
    if (count === MAX_STACKED) {
      throw refusal(
        "busy",
        target.path,
        `${target.path} is still mounted after ${count} unmounts: try again`,
      );
    }
    await mounts.unmount(target.path);
    stacked = mountsAt(await mounts.list(), target.path);
  }
  await removeTarget(files, target.path);
}

/** A target that shows only other things is not this volume's: to unmount it would pull them away from a pod. */
function requireVolume(stacked: readonly MountInfo[], volumeId: string, path: string): void {
  if (stacked.length === 0 || stacked.some(({ root }) => volumeOfMountRoot(root) === volumeId)) return;
  const shown = stacked.map(({ root }) => volumeOfMountRoot(root) ?? root).join(", ");
  throw refusal("precondition", path, `${path} shows ${shown}, not volume ${volumeId}`);
}
