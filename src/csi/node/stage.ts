/**
 * NodeStageVolume and NodeUnstageVolume below the edge: attaches the volume and mounts it once, at the staging path, from
 * where pods get it. A block volume is attached only; its staging directory stays empty.
 */
import { withCleanupFailure } from "../../errors.ts";
import type { Files } from "../../host/files.ts";
import type { BindFlag, MountInfo, Mounts } from "../../host/mount.ts";
import type { VolumeSource } from "../backend/backend.ts";
import type { Capability } from "../capability.ts";
import { refusal } from "../refusal.ts";
import { applyGroup } from "./group.ts";
import { mountsAt, placeOf, shownBeside, showsSource } from "./mount-state.ts";
import { effectiveFlags, requireCapable, type ShownVolume } from "./shown-volume.ts";
import { type Target, useDirectory } from "./target.ts";

/** The effects of showing a volume and taking it away. */
export interface ShowDeps {
  readonly files: Files;
  readonly mounts: Mounts;
}

/** One volume, wanted at its staging path. */
export interface Staging {
  readonly volume: ShownVolume;
  readonly staging: Target;
  readonly capability: Capability;
}

/** The options that tell two mounts of a volume apart. Those of access time are left out: anybody may remount them. */
const compared: readonly string[] = ["nosuid", "nodev", "noexec"];

/**
 * Whether a mount carries what was asked, beside what the mount that it was made from carries. `ro` is left out: the disk
 * of a staged volume may have been made read-only, or writable, since.
 */
export function hasFlags(
  mount: MountInfo,
  flags: readonly BindFlag[],
  inherited: readonly string[],
): boolean {
  const expected = new Set<string>([...flags, ...inherited]);
  return compared.every((option) => mount.options.includes(option) === expected.has(option));
}

/** Attaches the volume and mounts it unless that is done. What this call made it takes back when it fails. */
export async function stage(deps: ShowDeps, wanted: Staging): Promise<VolumeSource> {
  const { volume, capability } = wanted;
  requireCapable(volume, capability);
  const [table, source] = await Promise.all([deps.mounts.list(), volume.backend.attach(volume.placed)]);
  await stageFrom(deps, wanted, { table, source });
  return source;
}

/** An attached volume, and the mounts of the node. */
export interface Attached {
  readonly table: readonly MountInfo[];
  readonly source: VolumeSource;
}

/** The second half of `stage`, for a volume that is attached. */
export async function stageFrom(deps: ShowDeps, wanted: Staging, attached: Attached): Promise<void> {
  const { volume, staging, capability } = wanted;
  const { table, source } = attached;
  const flags = effectiveFlags(volume.placed.record, capability);
  const top = mountsAt(table, staging.path).at(-1);
  if (top) return requireSame(top, attached, { flags, path: staging.path });
  if (source.kind === "block") return;
  const made = await useDirectory(deps.files, staging);
  try {
    await showAt(deps, source, staging.path, { flags, readOnly: false });
    // A volume that is staged again, since its staging mount was lost, may have pods still.
    const publishedAt = shownBeside(table, source, staging.path);
    await applyGroup(deps.files, { top: staging.path, group: capability.group, publishedAt });
  } catch (error) {
    const undo = () => takeBack(deps, staging.path, made);
    await undo().catch((cleanup) => withCleanupFailure(error, cleanup));
    throw error;
  }
}

/** One mount with all its flags; there is nothing at `path` yet. */
export function showAt(
  { mounts }: ShowDeps,
  source: VolumeSource,
  path: string,
  options: { readonly flags: readonly BindFlag[]; readonly readOnly: boolean },
): Promise<void> {
  if (source.kind === "directory") return mounts.bind(source.path, path, options);
  // The flag would take the device away from the pod: the node is all that there is to see.
  if (source.kind === "block") return mounts.bind(source.device, path, { readOnly: false, flags: [] });
  return mounts.mountDevice(source.device, path, { ...options, fsType: source.fsType });
}

/** Nothing was mounted here a moment ago, so what is there now is the mount that was reported as failed. */
export async function takeBack({ files, mounts }: ShowDeps, path: string, made: boolean): Promise<void> {
  if (mountsAt(await mounts.list(), path).length > 0) await mounts.unmount(path);
  if (!made) return;
  if ((await files.stat(path)).kind === "directory") await files.rmdir(path);
  else await files.unlink(path);
}

function requireSame(
  top: MountInfo,
  { table, source }: Attached,
  { flags, path }: { readonly flags: readonly BindFlag[]; readonly path: string },
): void {
  const isOurs = showsSource(table, source)(top);
  const inherited = source.kind === "directory" ? (placeOf(table, source.path)?.options ?? []) : [];
  if (isOurs && hasFlags(top, flags, inherited)) return;
  const how = isOurs ? `with ${top.options.join(",")}` : `from ${top.root} of ${top.source}`;
  throw refusal("conflict", path, `${path} is staged already, ${how}`);
}
