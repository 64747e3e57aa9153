/**
 * What administrators may ask of the volumes of a node, beside CSI: `trivet storage`. It shares pools and locks with the
 * services, so that nothing is done to a volume on which a call is at work.
 */
import type { FindPathUsers } from "../host/path-users.ts";
import type { Log } from "../observe/log.ts";
import { type AdoptDeps, adoptDirectory } from "./adopt/adopt.ts";
import type { AdoptedVolume, AdoptRequest } from "./adopt/plan.ts";
import type { CsiDeps } from "./deps.ts";
import type { PersistentVolumeFacts, VolumeView } from "./inventory/facts.ts";
import { findOrphans, isSuspicious } from "./inventory/find-orphans.ts";
import { type ReadDiskDeps, readDisk } from "./inventory/read-disk.ts";
import { readVolumes } from "./inventory/read-volumes.ts";
import { chooseOrphans, type RemovedOrphan, removeOrphans } from "./inventory/remove-orphans.ts";
import type { KeyedLock } from "./keyed-lock.ts";
import type { PoolStatus } from "./pool/pool.ts";
import type { Pools } from "./pool/pools.ts";
import { refusal } from "./refusal.ts";
import type { DeletedVolumes } from "./volume/deleted-volumes.ts";
import type { VolumeRecord } from "./volume/record.ts";

/** How orphans are looked for, and whether they go. */
export interface OrphansRequest {
  /** Of this driver; absent where nobody could tell. */
  readonly persistentVolumes?: readonly PersistentVolumeFacts[];
  readonly graceMs: number;
  /** Absent: nothing is removed. Empty: what may be removed unnamed. */
  readonly remove?: readonly string[];
}

/** What was found, and what was not looked at. */
export interface OrphansReport {
  readonly orphans: readonly RemovedOrphan[];
  readonly away: readonly string[];
  readonly comparedWithPersistentVolumes: boolean;
}

/** The answers are plain data: they go over a socket as JSON. */
export interface StorageAdmin {
  volumes(): Promise<readonly VolumeView[]>;
  pools(): Promise<readonly PoolStatus[]>;
  orphans(request: OrphansRequest): Promise<OrphansReport>;
  undelete(request: { readonly id: string }): Promise<VolumeRecord>;
  adopt(request: AdoptRequest): Promise<AdoptedVolume>;
}

/** The parts of a driver that it works on. */
export interface StorageAdminDeps extends Pick<CsiDeps, "files" | "mounts" | "copier" | "clock"> {
  readonly log: Log;
  readonly pools: Pools;
  readonly lock: KeyedLock;
  readonly deleted: DeletedVolumes;
  readonly nodeId: string;
  readonly kubeletRoot: string;
  readonly pathUsers: FindPathUsers;
  /** As the service does it. */
  deleteVolume(id: string): Promise<void>;
}

/** Does nothing by itself. */
export function createStorageAdmin(deps: StorageAdminDeps): StorageAdmin {
  const disk: ReadDiskDeps = { ...deps, isBusy: deps.lock.isHeld };
  const adopting: AdoptDeps = deps;
  return {
    volumes: () => readVolumes(deps),
    pools: deps.pools.status,
    undelete: ({ id }) => deps.deleted.restore(id),
    adopt: (request) => adoptDirectory(adopting, request),
    async orphans({ persistentVolumes, graceMs, remove }) {
      const options = { persistentVolumes, graceMs };
      const facts = await readDisk(disk);
      const found = findOrphans(facts, options);
      if (remove?.length === 0 && isSuspicious(facts, options)) {
        const message =
          "none of the PersistentVolumes is of a volume of this node: is this the right cluster? Name what is to be deleted, if it is";
        throw refusal("precondition", "PersistentVolumes", message);
      }
      const chosen = remove ? chooseOrphans(found, remove) : [];
      const orphans = await removeOrphans(deps, found, chosen);
      return { orphans, away: facts.away, comparedWithPersistentVolumes: persistentVolumes !== undefined };
    },
  };
}
