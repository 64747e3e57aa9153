/**
 * GetCapacity: what a CreateVolume with these parameters would get on this node now. It is computed as CreateVolume
 * computes it, so that nothing is promised which is then refused.
 */
import { isKind } from "../../errors.ts";
import { roundUp } from "../capacity.ts";
import type { OpenPool } from "../pool/pool.ts";
import type { Pools } from "../pool/pools.ts";
import { bytesLeft } from "../pool/room-left.ts";
import { isReachable, nodeTopology } from "../topology.ts";
import type { GetCapacityRequest } from "../wire.ts";
import { parseKind } from "./decode.ts";

/** Where there may be room. */
export interface GetCapacityDeps {
  readonly pools: Pools;
  readonly nodeId: string;
}

/** The handler of GetCapacity (specification, "GetCapacity"). */
export function getCapacityHandler(deps: GetCapacityDeps) {
  const topology = nodeTopology(deps.nodeId);
  return async ({ volume_capabilities, parameters, accessible_topology }: GetCapacityRequest) => {
    const kind = parseKind(parameters, volume_capabilities);
    if (accessible_topology && !isReachable(accessible_topology, topology)) return nothing;
    const { fsType } = kind;
    const wish = { ...kind.parameters, access: kind.access, ...(fsType === undefined ? {} : { fsType }) };
    const pools = await deps.pools.choose(wish).catch((error) => {
      // Such volumes cannot be made here: that is an answer, not an error.
      if (isKind(error, "exhausted", "unavailable", "invalid")) return [];
      throw error;
    });
    // In a pool whose disk does not say what it has nothing could be made.
    const left = await Promise.all(pools.map((pool) => roomIn(pool).catch(() => noRoom)));
    const usable = left.filter(({ maximum, minimum }) => maximum >= minimum);
    if (usable.length === 0) return nothing;
    return {
      available_capacity: String(usable.reduce((sum, { maximum }) => sum + maximum, 0)),
      maximum_volume_size: { value: String(Math.max(...usable.map(({ maximum }) => maximum))) },
      minimum_volume_size: { value: String(Math.min(...usable.map(({ minimum }) => minimum))) },
    };
  };
}

const noRoom = { maximum: 0, minimum: 1 };
const nothing = { available_capacity: "0", maximum_volume_size: { value: "0" } };

async function roomIn({ backend, ledger, room }: OpenPool) {
  const left = bytesLeft(ledger, await room());
  const maximum = Math.floor(left / backend.granularityBytes) * backend.granularityBytes;
  return { maximum, minimum: roundUp(1, backend) };
}
