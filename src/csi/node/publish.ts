/**
 * NodePublishVolume below the edge: a bind mount of the staging mount, or of the block device. What is mounted is read
 * from the mount table before every decision, and a volume that is not staged, such as after a reboot, is staged first.
 */
import { withCleanupFailure } from "../../errors.ts";
import type { MountInfo } from "../../host/mount.ts";
import type { Capability } from "../capability.ts";
import { invalid, refusal } from "../refusal.ts";
import { applyGroup } from "./group.ts";
import { mountsAt, placeOf, type ShowsVolume, showsSource } from "./mount-state.ts";
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
  const shows = showsSource(table, source);
  const top = mountsAt(table, target.path).at(-1);
  if (top) {
    requireSame(top, { wanted, shows, table });
    return false;
  }
  const other = table.find((mount) => shows(mount) && mount.mountPoint !== staging?.path);
  if (other && capability.accessMode === "SINGLE_NODE_SINGLE_WRITER") {
    const message = `the volume has a single writer and is published at ${other.mountPoint}`;
    throw refusal("precondition", target.path, message);
  }
  return true;
}

interface Present {
  readonly wanted: Publication;
  readonly shows: ShowsVolume;
  readonly table: readonly MountInfo[];
}

function requireSame(top: MountInfo, { wanted, shows, table }: Present): void {
  const { volume, target, staging, capability } = wanted;
  const isOurs = shows(top);
  if (isOurs && capability.access === "block") return;
  const from = staging && mountsAt(table, staging.path).at(-1);
  const inherited = from?.options ?? placeOf(table, volume.placed.wrapper)?.options ?? [];
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
  if (!planPublish(attached, wanted)) return;
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
  const shows = showsSource(table, source);
  if (source.kind === "block") return showAt(deps, source, target.path, options);
  if (!staging) {
    await showAt(deps, source, target.path, options);
    return giveToGroup(deps, wanted, { top: target.path, publishedAt: undefined });
  }
  const top = mountsAt(table, staging.path).at(-1);
  if (!top || !shows(top)) await stageFrom(deps, { volume, staging, capability }, attached);
  const other = table.find((mount) => shows(mount) && mount.mountPoint !== staging.path);
  await giveToGroup(deps, wanted, { top: staging.path, publishedAt: other?.mountPoint });
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
