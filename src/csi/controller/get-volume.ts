/** ControllerGetVolume, and what it and ListVolumes say of one volume. */
import type { Call } from "../call.ts";
import type { FoundVolume, Pools } from "../pool/pools.ts";
import { quarantineKey } from "../pool/trash-name.ts";
import { invalid, refusal } from "../refusal.ts";
import { nodeTopology } from "../topology.ts";
import { type Condition, conditionOf, conditionOfFailure } from "../volume/condition.ts";
import { parseVolumeId, type VolumeId } from "../volume/id.ts";
import type { ControllerGetVolumeRequest, WireTopology } from "../wire.ts";

/** Where volumes are found. */
export interface GetVolumeDeps {
  readonly pools: Pools;
  readonly nodeId: string;
}

/** A volume with its condition, as on the wire. */
export interface VolumeEntry {
  readonly volume: {
    readonly volume_id: string;
    readonly capacity_bytes: string;
    readonly accessible_topology: readonly WireTopology[];
  };
  readonly status: { readonly volume_condition: Condition };
}

/** The handler of ControllerGetVolume (specification, "ControllerGetVolume"). */
export function getVolumeHandler(deps: GetVolumeDeps) {
  return async ({ volume_id }: ControllerGetVolumeRequest, call: Call) => {
    if (volume_id === "") throw invalid("volume_id", "is missing");
    const id = parseVolumeId(volume_id);
    if (id) call.about(id);
    const entry = id && (await describeVolume(deps, id));
    if (!entry) throw refusal("not-found", volume_id, `there is no volume "${volume_id}"`);
    return entry;
  };
}

/** Undefined where there is no such volume. One that cannot be looked at is described by why not. */
export async function describeVolume(deps: GetVolumeDeps, id: VolumeId): Promise<VolumeEntry | undefined> {
  const topology = nodeTopology(deps.nodeId);
  const entry = (sizeBytes: number, volume_condition: Condition): VolumeEntry => ({
    volume: { volume_id: id, capacity_bytes: String(sizeBytes), accessible_topology: [topology] },
    status: { volume_condition },
  });
  let found: FoundVolume | undefined;
  try {
    found = await deps.pools.find(id);
  } catch (error) {
    const condition = conditionOfFailure(error);
    const known = deps.pools.all
      .map(({ ledger }) => ledger.entries().get(id))
      .find((bytes) => bytes !== undefined);
    // Of a volume that nobody has seen before its pool went away nothing can be said.
    if (!condition || (known === undefined && !isQuarantined(deps.pools, id))) throw error;
    return entry(known ?? 0, condition);
  }
  return found && entry(found.record.sizeBytes, await conditionOf(found));
}

function isQuarantined({ all }: Pools, id: VolumeId): boolean {
  return all.some(({ ledger }) => ledger.entries().has(quarantineKey(id)));
}
