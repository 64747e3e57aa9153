/** What was deleted or retained in all pools of a node, and how it comes back: `trivet storage undelete`. */
import type { Files } from "../../host/files.ts";
import type { Log } from "../../observe/log.ts";
import type { KeyedLock } from "../keyed-lock.ts";
import { linkByName } from "../pool/by-name.ts";
import type { Pools } from "../pool/pools.ts";
import { invalid, refusal } from "../refusal.ts";
import { parseVolumeId, type VolumeId } from "./id.ts";
import type { VolumeRecord } from "./record.ts";
import { type Deleted, listDeleted, restoreFromTrash } from "./undelete.ts";

/** Where deleted volumes lie. */
export interface DeletedVolumesDeps {
  readonly files: Files;
  readonly log: Log;
  readonly pools: Pools;
  readonly lock: KeyedLock;
}

/** For people, not for the kubelet. */
export interface DeletedVolumes {
  /** Of every pool that is there, the latest first. */
  list(): Promise<readonly Deleted[]>;
  /**
   * Brings the latest deleted volume of this id back. Throws `invalid` for what is no id, `not-found` where no pool keeps
   * such a volume, and as `restoreFromTrash` does.
   */
  restore(id: string): Promise<VolumeRecord>;
}

/** Shares the lock of the process, so that nothing else is done to a volume that is coming back. */
export function createDeletedVolumes(deps: DeletedVolumesDeps): DeletedVolumes {
  const openPools = async () => {
    const opened = await Promise.all(deps.pools.all.map(({ use }) => use().catch(() => undefined)));
    return opened.filter((pool) => pool !== undefined);
  };
  const restoreAny = async (id: VolumeId): Promise<VolumeRecord> => {
    for (const pool of await openPools()) {
      const kept = (await listDeleted(deps.files, pool)).some(({ record }) => record.id === id);
      if (!kept) continue;
      const record = await restoreFromTrash(deps.files, pool, id);
      await linkByName(deps, pool.layout, record);
      return record;
    }
    throw refusal("not-found", id, `no pool of this node keeps a deleted volume ${id}`);
  };
  return {
    async list() {
      const lists = await Promise.all((await openPools()).map((pool) => listDeleted(deps.files, pool)));
      return lists.flat().sort((a, b) => b.deletedMs - a.deletedMs);
    },
    async restore(text) {
      const id = parseVolumeId(text);
      if (!id) throw invalid("volume", `is "${text}", which is no id of a volume`);
      return deps.lock.run([id], () => restoreAny(id));
    },
  };
}
