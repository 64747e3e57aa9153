/** NodeGetVolumeStats: what a volume holds where a pod has it, and whether something is wrong with it. */
import { isKind } from "../../errors.ts";
import type { MountInfo, Mounts } from "../../host/mount.ts";
import type { VolumeUsage } from "../backend/backend.ts";
import type { Call } from "../call.ts";
import { volumeOfMountRoot } from "../pool/layout.ts";
import type { FoundVolume, Pools } from "../pool/pools.ts";
import { invalid, refusal } from "../refusal.ts";
import { abnormal, type Condition, conditionOf, conditionOfFailure } from "../volume/condition.ts";
import { parseVolumeId, type VolumeId } from "../volume/id.ts";
import type { NodeGetVolumeStatsRequest } from "../wire.ts";
import { mountsAt, showsSource } from "./mount-state.ts";
import type { TargetResolver } from "./target.ts";

/** Where volumes and their mounts are found. */
export interface StatsDeps {
  readonly mounts: Mounts;
  readonly pools: Pools;
  readonly targets: TargetResolver;
}

/** The handler of NodeGetVolumeStats (specification, "NodeGetVolumeStats"). */
export function statsHandler(deps: StatsDeps) {
  return async (request: NodeGetVolumeStatsRequest, call: Call) => {
    const { volume_id, volume_path, staging_target_path } = request;
    if (volume_id === "") throw invalid("volume_id", "is missing");
    if (volume_path === "") throw invalid("volume_path", "is missing");
    const id = parseVolumeId(volume_id);
    if (!id) throw elsewhere(volume_id, volume_path);
    call.about(id);
    const path = await realPath(deps, volume_path);
    const [table, look] = await Promise.all([deps.mounts.list(), lookFor(deps, id)]);
    const at = path === undefined ? [] : mountsAt(table, path);
    if ("condition" in look) {
      // The table knows the volume still, though its record or its disk cannot be read.
      if (!at.some(({ root }) => volumeOfMountRoot(root) === id)) throw look.error;
      return { usage: [], volume_condition: look.condition };
    }
    const { found } = look;
    if (path === undefined || !(await isShown(found, table, at))) throw elsewhere(volume_id, volume_path);
    const { pool, record } = found;
    const isBlock = record.access === "block";
    const usage = await pool.backendOf(record).usage(pool.place(record), isBlock ? undefined : path);
    const lost = isBlock || (await isStaged(deps, table, staging_target_path)) ? undefined : unstaged;
    return { usage: toWire(usage), volume_condition: lost ?? (await conditionOf(found, usage)) };
  };
}

const unstaged = abnormal("the volume is not staged any more: the next publish stages it again");

type Look = { readonly found: FoundVolume } | { readonly condition: Condition; readonly error: unknown };

async function lookFor({ pools }: StatsDeps, id: VolumeId): Promise<Look> {
  try {
    const found = await pools.find(id);
    if (found) return { found };
  } catch (error) {
    const condition = conditionOfFailure(error);
    if (condition) return { condition, error };
    throw error;
  }
  const message = `there is no volume "${id}" on this node`;
  return { condition: abnormal("its record is gone"), error: refusal("not-found", id, message) };
}

/** A path that cannot be one of the kubelet's is one where no volume is (specification: NOT_FOUND). */
async function realPath({ targets }: StatsDeps, text: string): Promise<string | undefined> {
  try {
    return (await targets.resolve("volume_path", text)).path;
  } catch (error) {
    if (isKind(error, "invalid")) return undefined;
    throw error;
  }
}

async function isShown(
  { pool, record }: FoundVolume,
  table: readonly MountInfo[],
  at: readonly MountInfo[],
): Promise<boolean> {
  const source = await pool
    .backendOf(record)
    .attached(pool.place(record))
    .catch(() => undefined);
  if (!source) return at.some(({ root }) => volumeOfMountRoot(root) === record.id);
  return at.some(showsSource(table, source));
}

async function isStaged(deps: StatsDeps, table: readonly MountInfo[], staging: string): Promise<boolean> {
  if (staging === "") return true;
  const path = await realPath(deps, staging);
  return path !== undefined && mountsAt(table, path).length > 0;
}

function toWire({ bytes, inodes }: VolumeUsage): object[] {
  const usage = (unit: string, { total, used, available }: VolumeUsage["bytes"]) => ({
    ...{ unit, total: String(total), used: String(used), available: String(available) },
  });
  return [usage("BYTES", bytes), ...(inodes ? [usage("INODES", inodes)] : [])];
}

function elsewhere(volumeId: string, path: string) {
  return refusal("not-found", volumeId, `there is no volume "${volumeId}" at ${path}`);
}
