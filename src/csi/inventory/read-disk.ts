/** Gathers what `find-orphans.ts` compares: volumes, staging, mounts and loop devices of this node. Changes nothing. */
import { join } from "node:path";
import { isKind } from "../../errors.ts";
import type { Clock } from "../../host/clock.ts";
import type { Files } from "../../host/files.ts";
import { isWithin } from "../node/mount-state.ts";
import { type PoolLayout, volumeOfMountRoot } from "../pool/layout.ts";
import { topologyValue } from "../topology.ts";
import { isMissing } from "../volume/read.ts";
import type { DiskFacts, VolumeLoop, VolumeMount } from "./facts.ts";
import { type ReadVolumesDeps, readVolumes } from "./read-volumes.ts";

/** Where it looks. */
export interface ReadDiskDeps extends ReadVolumesDeps {
  readonly clock: Clock;
  readonly nodeId: string;
  /** Whether an operation on this volume is running: what it builds is no leftover. */
  isBusy(id: string): boolean;
}

const BLOCK_DEVICES = "/sys/block";

/** As of now; what changes meanwhile may be seen in either state. */
export async function readDisk(deps: ReadDiskDeps): Promise<DiskFacts> {
  const volumes = await readVolumes(deps);
  const [leftovers, away, layouts]: [DiskFacts["leftovers"][number][], string[], PoolLayout[]] = [[], [], []];
  for (const { config, use } of deps.pools.all) {
    const pool = await use().catch(() => undefined);
    if (!pool) {
      away.push(config.name);
      continue;
    }
    layouts.push(pool.layout);
    for (const { name } of await deps.files.list(pool.layout.staging)) {
      if (!deps.isBusy(name) && !name.startsWith(".")) leftovers.push({ pool: pool.name, name });
    }
  }
  return {
    ...{
      volumes,
      leftovers,
      away,
      mounts: await readMounts(deps),
      loops: await readLoops(deps.files, layouts),
    },
    ...{ node: topologyValue(deps.nodeId), nowMs: deps.clock.nowMs() },
  };
}

async function readMounts({ mounts, kubeletRoot }: ReadDiskDeps): Promise<VolumeMount[]> {
  return (await mounts.list()).flatMap(({ root, mountPoint }) => {
    const id = volumeOfMountRoot(root);
    if (id === undefined || !isWithin(mountPoint, kubeletRoot)) return [];
    return [{ id, mountPoint, isDeleted: root.endsWith("//deleted") }];
  });
}

/** The kernel adds this to the name of a file that has none any more. */
const deletedSuffix = " (deleted)";

async function readLoops(files: Files, layouts: readonly PoolLayout[]): Promise<VolumeLoop[]> {
  const found: VolumeLoop[] = [];
  const devices = await files.list(BLOCK_DEVICES).catch(ignoreMissing);
  for (const { name } of devices ?? []) {
    if (!name.startsWith("loop")) continue;
    const text = await files.read(join(BLOCK_DEVICES, name, "loop/backing_file")).catch(ignoreMissing);
    if (!text) continue;
    const shown = text.toString().replace(/\n$/, "");
    const file = shown.endsWith(deletedSuffix) ? shown.slice(0, -deletedSuffix.length) : shown;
    if (!layouts.some(({ root }) => isWithin(file, root))) continue;
    const isGone = file !== shown || (await isMissing(files, file));
    found.push({ device: `/dev/${name}`, file, isMissing: isGone });
  }
  return found;
}

function ignoreMissing(error: unknown): undefined {
  if (isKind(error, "not-found", "io", "unavailable")) return undefined; // the device went meanwhile
  throw error;
}
