/**
 * NodePublishVolume below the edge: a bind mount of the staging mount, or of the block device. What is mounted is read
 * from the mount table before every decision, and a volume that is not staged, such as after a reboot, is staged first.
 */
import { withCleanupFailure } from "../../errors.ts";
import type { MountInfo } from "../../host/mount.ts";
import type { Capability } from "../capability.ts";
import { invalid, refusal } from "../refusal.ts";
import { applyGroup } from "./group.ts";
import { mountsAt, placeOf, shownBeside, showsSource } from "./mount-state.ts";
import { effectiveFlags, requireCapable, type ShownVolume } from "./shown-volume.ts";
import { type Attached, hasFlags, type ShowDeps, showAt, stageFrom, takeBack } from "./stage.ts";
import { makeTarget, type Target } from "./target.ts";

/** One volume, wanted at one target. */
export interface Publication {
  readonly volume: ShownVolume;
  readonly target: Target;
  /** Undefined for the inline volume of a pod, which is never staged. */
  readonly staging: Target | undefined;
  readonly capability: Capability;
  readonly readOnly: boolean;
}

/**
 * Whether there is still something to be done. Throws `conflict` where the target is taken, `precondition` for a second
 * target of a single writer (specification, "NodePublishVolume").
 */
export function planPublish({ table, source }: Attached, wanted: Publication): boolean {
  const { target, capability, staging } = wanted;
  const top = mountsAt(table, target.path).at(-1);
  if (top) {
    requireSame(top, wanted, { table, source });
    return false;
  }
  const other = shownBeside(table, source, staging?.path);
  if (other !== undefined && capability.accessMode === "SINGLE_NODE_SINGLE_WRITER") {
    const message = `the volume has a single writer and is published at ${other}`;
    throw refusal("precondition", target.path, message);
  }
  return true;
}

function requireSame(top: MountInfo, wanted: Publication, { table, source }: Attached): void {
  const { volume, target, staging, capability } = wanted;
  const isOurs = showsSource(table, source)(top);
  if (isOurs && capability.access === "block") return;
  const from = staging && mountsAt(table, staging.path).at(-1);
  // The file system of an image has nothing from the mount of its pool.
  const place = source.kind === "directory" ? placeOf(table, source.path) : undefined;
  const inherited = from?.options ?? place?.options ?? [];
  const wantsReadOnly = wanted.readOnly || capability.readOnly;
  const isReadOnly = wantsReadOnly || inherited.includes("ro");
  const flags = effectiveFlags(volume.placed.record, capability);
  if (isOurs && top.options.includes("ro") === isReadOnly && hasFlags(top, flags, inherited)) return;
  const how = isOurs ? `with ${top.options.join(",")}` : `from ${top.root} of ${top.source}`;
  throw refusal("conflict", target.path, `${target.path} is mounted already, ${how}`);
}

/** Mounts the volume unless that is done already. Whatever fails, what this call made is taken back. */
export async function publish(deps: ShowDeps, wanted: Publication): Promise<void> {
  const { volume, target, capability } = wanted;
  requireCapable(volume, capability);
  if (capability.access === "block" && (wanted.readOnly || capability.readOnly)) {
    throw invalid(
      "readonly",
      "is set, but a block device cannot be shown read-only: a mount does not guard it",
    );
  }
  const [table, source] = await Promise.all([deps.mounts.list(), volume.backend.attach(volume.placed)]);
  const attached = { table, source };
  if (!planPublish(attached, wanted)) {
    // An attempt that died may have come no further than the mount: an inline volume has its group only after that.
    if (!wanted.staging) await giveToGroup(deps, wanted, { top: target.path, publishedAt: undefined });
    return;
  }
  const made = await makeTarget(deps.files, target, capability.access === "block" ? "file" : "directory");
  try {
    await show(deps, wanted, attached);
  } catch (error) {
    const undo = () => takeBack(deps, target.path, made);
    await undo().catch((cleanup) => withCleanupFailure(error, cleanup));
    throw error;
  }
}

async function show(deps: ShowDeps, wanted: Publication, attached: Attached): Promise<void> {
  const { volume, target, staging, capability } = wanted;
  const { table, source } = attached;
  const options = {
    flags: effectiveFlags(volume.placed.record, capability),
    readOnly: wanted.readOnly || capability.readOnly,
  };
  if (source.kind === "block") return showAt(deps, source, target.path, options);
  if (!staging) {
    await showAt(deps, source, target.path, options);
    return giveToGroup(deps, wanted, { top: target.path, publishedAt: undefined });
  }
  const top = mountsAt(table, staging.path).at(-1);
  if (!top || !showsSource(table, source)(top))
    await stageFrom(deps, { volume, staging, capability }, attached);
  const publishedAt = shownBeside(table, source, staging.path);
  await giveToGroup(deps, wanted, { top: staging.path, publishedAt });
  await deps.mounts.bind(staging.path, target.path, options);
}

/** A pod that may only read gets nothing that it could not have by itself. */
async function giveToGroup(
  { files }: ShowDeps,
  { capability, readOnly }: Publication,
  { top, publishedAt }: { readonly top: string; readonly publishedAt: string | undefined },
): Promise<void> {
  if (readOnly || capability.readOnly) return;
  await applyGroup(files, { top, group: capability.group, publishedAt });
}
