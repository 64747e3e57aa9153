/** All pools of this node, and in which one a volume lies. */
import { isKind } from "../../errors.ts";
import type { Files } from "../../host/files.ts";
import { refusal } from "../refusal.ts";
import type { VolumeId } from "../volume/id.ts";
import type { VolumeRecord } from "../volume/record.ts";
import { createPoolChooser, type PoolChooser } from "./choose.ts";
import { checkPools, type PoolChoice, type PoolConfig } from "./config.ts";
import { createPool, type OpenPool, type Pool, type PoolDeps, type PoolStatus } from "./pool.ts";

/** A volume that is there, in a pool that is open. */
export interface FoundVolume {
  readonly pool: OpenPool;
  readonly record: VolumeRecord;
}

/** The pools of a node, whether their disks are there or not. */
export interface Pools extends PoolChooser {
  readonly all: readonly Pool[];
  /** The volume, or undefined where there is none; `unavailable` while a pool that could hold it is away. */
  find(id: VolumeId): Promise<FoundVolume | undefined>;
  /** Tries to open every pool, so that the first request finds the scan done. Never throws. */
  openAll(): Promise<void>;
  status(): Promise<readonly PoolStatus[]>;
  stop(): Promise<void>;
}

/** What every pool needs; who may claim which disk is settled here. */
export type PoolsDeps = Omit<PoolDeps, "claim"> & { readonly files: Files; readonly choice?: PoolChoice };

/** `invalid`, listing every problem, for pools that cannot be used together or ask for what this release lacks. */
export function createPools(deps: PoolsDeps, configs: readonly PoolConfig[]): Pools {
  const owners = new Map<string, string>();
  const claim = (pool: string, uuid: string) => {
    const owner = owners.get(uuid) ?? pool;
    if (owner !== pool) {
      throw refusal("unavailable", pool, `pool "${pool}" is unavailable: it is the disk of pool "${owner}"`);
    }
    owners.set(uuid, pool);
  };
  const all = checkPools(configs).map((config) => createPool({ ...deps, claim }, config));
  return {
    all,
    ...createPoolChooser(all, deps.choice ?? "default"),
    find: (id) => find(all, id),
    async openAll() {
      for (const pool of all) {
        await pool.use().catch((error: Error) => {
          deps.log.error("pool not open", { pool: pool.config.name, error: error.message });
        });
      }
    },
    status: () => Promise.all(all.map((pool) => pool.status())),
    async stop() {
      await Promise.all(all.map((pool) => pool.stop()));
    },
  };
}

async function find(all: readonly Pool[], id: VolumeId): Promise<FoundVolume | undefined> {
  let away: unknown;
  // Where it was last seen comes first: a volume that is there is found by one look, however many pools there are.
  const isLikely = ({ ledger }: Pool) => ledger.entries().has(id);
  const others = all.filter((pool) => !isLikely(pool));
  for (const { look } of [...all.filter(isLikely), ...others]) {
    try {
      const { pool, found: record } = await look(({ read }) => read(id));
      if (record) return { pool, record };
    } catch (error) {
      if (!isKind(error, "unavailable")) throw error;
      away ??= error;
    }
  }
  if (away) throw away;
  return undefined;
}
