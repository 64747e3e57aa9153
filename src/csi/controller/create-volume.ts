/** CreateVolume: the same name gives the same volume, however often it is asked for and whatever failed in between. */
import { isKind } from "../../errors.ts";
import type { Clock } from "../../host/clock.ts";
import type { Files } from "../../host/files.ts";
import type { Call } from "../call.ts";
import { isWithinRange, sizeOfNew } from "../capacity.ts";
import type { KeyedLock } from "../keyed-lock.ts";
import type { FoundVolume, Pools } from "../pool/pools.ts";
import { refusal } from "../refusal.ts";
import { nodeTopology } from "../topology.ts";
import { createVolume } from "../volume/create.ts";
import { volumeIdFor } from "../volume/id.ts";
import { readVolume } from "../volume/read.ts";
import type { VolumeRecord } from "../volume/record.ts";
import type { CreateVolumeRequest } from "../wire.ts";
import { parseCreateVolume, type WantedVolume } from "./decode.ts";

/** What creating takes. `lock` is the one of the whole process. */
export interface ControllerDeps {
  readonly files: Files;
  readonly clock: Clock;
  readonly pools: Pools;
  readonly lock: KeyedLock;
  readonly nodeId: string;
}

/** The handler of CreateVolume (specification, "CreateVolume"). */
export function createVolumeHandler(deps: ControllerDeps) {
  const topology = nodeTopology(deps.nodeId);
  return async (request: CreateVolumeRequest, call: Call) => {
    const wanted = parseCreateVolume(request, topology);
    const pool = deps.pools.select(wanted.pool);
    const origin = { nodeId: deps.nodeId, name: wanted.name };
    const id = volumeIdFor({ ...origin, pool: pool.config.name });
    call.about(id);
    // The name as well: a retry may come with another pool, and must not make a second volume beside the first.
    const record = await deps.lock.run([id, `name ${wanted.name}`], async () => {
      const open = await pool.use();
      const present = await findByName(deps, wanted.name);
      if (present) return confirm(deps.files, present, wanted);
      call.check();
      const fresh: VolumeRecord = {
        ...{ id, name: wanted.name, pool: open.name, sizeBytes: sizeOfNew(wanted.range) },
        ...(wanted.claim ? { claim: wanted.claim } : {}),
        created: new Date(deps.clock.nowMs()).toISOString(),
        ...(open.backend.name === "directory" ? {} : { backend: open.backend.name }),
      };
      return createVolume(deps.files, open, fresh);
    });
    const { sizeBytes } = record;
    return {
      volume: { volume_id: record.id, capacity_bytes: String(sizeBytes), accessible_topology: [topology] },
    };
  };
}

/** A volume that was made under this name, in whichever pool that can be reached. */
async function findByName(deps: ControllerDeps, name: string): Promise<FoundVolume | undefined> {
  for (const { config, use } of deps.pools.all) {
    try {
      const pool = await use();
      const id = volumeIdFor({ nodeId: deps.nodeId, pool: config.name, name });
      const record = await readVolume(deps.files, pool.layout, id);
      if (record) return { pool, record };
    } catch (error) {
      if (!isKind(error, "unavailable")) throw error;
    }
  }
  return undefined;
}

/** The volume that exists, if it is what is wanted; `conflict` if not. Durable before it is reported once more. */
async function confirm(files: Files, present: FoundVolume, wanted: WantedVolume): Promise<VolumeRecord> {
  const { pool, record } = present;
  const { requiredBytes, limitBytes } = wanted.range;
  if (!isWithinRange(record.sizeBytes, wanted.range)) {
    throw conflict(record, `has ${record.sizeBytes} bytes, not ${requiredBytes} to ${limitBytes || "any"}`);
  }
  if (wanted.pool !== undefined && wanted.pool !== pool.name) {
    throw conflict(record, `lies in pool "${pool.name}", not "${wanted.pool}"`);
  }
  // The call that made it may have failed between the rename and its sync.
  await files.sync(pool.layout.volumes);
  return record;
}

function conflict({ id, name }: VolumeRecord, how: string) {
  return refusal("conflict", id, `a volume named "${name}" exists, and it ${how}`);
}
