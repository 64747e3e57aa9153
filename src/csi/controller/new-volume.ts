/**
 * Makes the volume of a name in one of the pools that may have it, or finds the one that was made before: in whichever
 * pool that lies, since a retry may come with another wish and must not make a second volume beside the first.
 */
import { isKind } from "../../errors.ts";
import type { Clock } from "../../host/clock.ts";
import type { Files } from "../../host/files.ts";
import type { Log } from "../../observe/log.ts";
import type { Call } from "../call.ts";
import { isWithinRange, sizeOfNew } from "../capacity.ts";
import type { KeyedLock } from "../keyed-lock.ts";
import { linkByName } from "../pool/by-name.ts";
import { wishFor } from "../pool/choose.ts";
import type { OpenPool } from "../pool/pool.ts";
import type { FoundVolume, Pools } from "../pool/pools.ts";
import { refusal } from "../refusal.ts";
import { createVolume, type Fill } from "../volume/create.ts";
import { volumeIdFor } from "../volume/id.ts";
import type { VolumeRecord } from "../volume/record.ts";
import type { WantedVolume } from "./decode.ts";

/** What creating takes. `lock` is the one of the whole process. */
export interface ControllerDeps {
  readonly files: Files;
  readonly clock: Clock;
  readonly log: Log;
  readonly pools: Pools;
  readonly lock: KeyedLock;
  readonly nodeId: string;
}

/** What a new volume is made from, instead of being empty. */
export interface Content {
  /** The only pool that has it. */
  readonly pool: string;
  readonly source: NonNullable<VolumeRecord["source"]>;
  /** The new volume cannot be smaller. */
  readonly minimumBytes: number;
  readonly fill: Fill;
}

/** A volume, wanted under a name. */
export type Wanted = Omit<WantedVolume, "source"> & {
  readonly content?: Content;
  /** Fields of the record that no class has. */
  readonly extra?: Pick<VolumeRecord, "ephemeral">;
};

/** The record of the volume, durable. Whoever calls this holds the lock of the name. */
export async function makeVolume(deps: ControllerDeps, wanted: Wanted, call: Call): Promise<VolumeRecord> {
  const present = await findByName(deps, wanted.name);
  if (present) return confirm(deps.files, present, wanted);
  const { parameters, access, fsType, content, extra } = wanted;
  const isInline = extra?.ephemeral !== undefined;
  const wish = { ...parameters, access, isInline, ...(fsType === undefined ? {} : { fsType }) };
  const pools = await deps.pools.choose(content ? { ...wish, pools: [content.pool] } : wish);
  call.check();
  let refused: unknown;
  for (const pool of pools) {
    try {
      return await makeIn(deps, pool, wanted);
    } catch (error) {
      if (!isKind(error, "exhausted", "range", "unavailable")) throw error;
      // A step that failed may have happened all the same: then there is a volume, and no second one is made.
      if (await findByName(deps, wanted.name)) throw error;
      refused ??= error;
    }
  }
  throw refused ?? refusal("unavailable", wanted.name, "no pool of this node can be reached");
}

async function makeIn(deps: ControllerDeps, pool: OpenPool, wanted: Wanted): Promise<VolumeRecord> {
  const record = recordOf(deps, pool, wanted);
  return deps.lock.run([record.id], async () => {
    const made = await createVolume(deps.files, pool, record, wanted.content?.fill);
    await linkByName(deps, pool.layout, made);
    return made;
  });
}

function recordOf(deps: ControllerDeps, { name: pool, backend }: OpenPool, wanted: Wanted): VolumeRecord {
  const { name, range, parameters, access, fsType, content } = wanted;
  const { claim, owner, mountFlags, onDelete, inodes, browse } = parameters;
  const minimumBytes = Math.max(backend.minimumBytes, content?.minimumBytes ?? 0);
  const ownType = access === "mount" ? (fsType ?? backend.fsTypes[0]) : undefined;
  return {
    ...{ id: volumeIdFor({ nodeId: deps.nodeId, pool, name }), name, pool },
    sizeBytes: sizeOfNew(range, { minimumBytes, granularityBytes: backend.granularityBytes }),
    ...(claim ? { claim } : {}),
    created: new Date(deps.clock.nowMs()).toISOString(),
    ...(backend.name === "directory" ? {} : { backend: backend.name }),
    ...(access === "block" ? { access } : {}),
    ...(ownType === undefined ? {} : { fsType: ownType }),
    ...(owner ? { owner } : {}),
    ...(mountFlags ? { mountFlags } : {}),
    ...(onDelete ? { onDelete } : {}),
    ...(inodes === undefined ? {} : { inodes }),
    ...(content ? { source: content.source } : {}),
    ...(browse === undefined ? {} : { browse }),
    ...wanted.extra,
  };
}

/** A volume that was made under this name; `unavailable` where it lies in a pool that has gone away since. */
export async function findByName(deps: ControllerDeps, name: string): Promise<FoundVolume | undefined> {
  for (const { config, ledger, look } of deps.pools.all) {
    const id = volumeIdFor({ nodeId: deps.nodeId, pool: config.name, name });
    try {
      const { pool, found: record } = await look(({ read }) => read(id));
      if (record) return { pool, record };
    } catch (error) {
      if (!isKind(error, "unavailable") || ledger.entries().has(id)) throw error;
    }
  }
  return undefined;
}

/** The volume that exists, if it is what is wanted; `conflict` if not. Durable before it is reported once more. */
async function confirm(files: Files, present: FoundVolume, wanted: Wanted): Promise<VolumeRecord> {
  const { pool, record } = present;
  const difference = differenceOf(record, wanted);
  if (difference !== undefined) {
    const message = `a volume named "${record.name}" exists, and it ${difference}`;
    throw refusal("conflict", record.id, message);
  }
  // The call that made it may have failed between the rename and its sync.
  await files.sync(pool.layout.volumes);
  return record;
}

function differenceOf(record: VolumeRecord, wanted: Wanted): string | undefined {
  const { requiredBytes, limitBytes } = wanted.range;
  const { pools, backend } = wanted.parameters;
  const own = wishFor(record.backend ?? "directory");
  const source = wanted.content?.source;
  if (!isWithinRange(record.sizeBytes, wanted.range)) {
    return `has ${record.sizeBytes} bytes, not ${requiredBytes} to ${limitBytes || "any"}`;
  }
  if (pools && !pools.includes(record.pool)) return `lies in pool "${record.pool}", not "${pools.join(",")}"`;
  if (backend !== undefined && backend !== own) return `is of backend ${own}, not ${backend}`;
  if ((record.access ?? "mount") !== wanted.access)
    return `is for ${record.access ?? "mount"}, not ${wanted.access}`;
  if (wanted.fsType !== undefined && record.fsType !== wanted.fsType) {
    return `has the file system ${record.fsType ?? "of its pool"}, not ${wanted.fsType}`;
  }
  if (source?.kind !== record.source?.kind || source?.id !== record.source?.id) {
    return `was made from ${record.source?.id ?? "nothing"}, not from ${source?.id ?? "nothing"}`;
  }
  return undefined;
}
