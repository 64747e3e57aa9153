/**
 * Which kinds of volume an open pool has: one for new volumes, as configured or as its disk allows, and every other
 * for volumes that were made when the pool was configured otherwise.
 */
import type { Log } from "../../observe/log.ts";
import type { CsiDeps } from "../deps.ts";
import type { PoolConfig } from "../pool/config.ts";
import type { PoolLayout } from "../pool/layout.ts";
import { refusal } from "../refusal.ts";
import type { VolumeRecord } from "../volume/record.ts";
import type { Backend, BackendName } from "./backend.ts";
import { createBtrfsBackend } from "./btrfs.ts";
import { createDirectoryBackend } from "./directory.ts";
import { createImageBackend } from "./image.ts";
import { type ProbeFinding, probeBackend } from "./probe.ts";
import { createQuotaBackend } from "./quota.ts";
import { createProjectIds, defaultProjectIds, type ProjectIdRange, type ProjectIds } from "./quota-ids.ts";

/** An open pool, as a backend gets to know it. */
export interface BackendPool {
  readonly config: PoolConfig;
  readonly layout: PoolLayout;
  readonly log: Log;
}

/** Host effects, all of them: each kind takes those that it needs. */
export type BackendDeps = Omit<CsiDeps, "serve">;

/** The kinds of one open pool. */
export interface PoolBackends {
  /** What new volumes are made of. */
  readonly chosen: Backend;
  /** What probing the disk found, for `doctor` and `storage pools`. */
  readonly finding: ProbeFinding;
  /** What this volume is made of; `precondition` for a kind that this pool cannot serve. */
  of(record: Pick<VolumeRecord, "backend">): Backend;
}

/** Asked whenever a pool is opened. Throws `unavailable`, with the remedy, for a setting that the disk cannot serve. */
export type OpenBackends = (pool: BackendPool) => Promise<PoolBackends>;

type MakerDeps = BackendDeps & { readonly ids: ProjectIds };
type Make = (deps: MakerDeps, pool: BackendPool, finding: ProbeFinding) => Backend;

/** How each kind is made; making it has no effect on the disk. */
const makers: Partial<Record<BackendName, Make>> = {
  directory: (deps) => createDirectoryBackend(deps),
  quota: (deps, { layout }, { backend, how }) =>
    createQuotaBackend(deps, { root: layout.root, how: backend === "quota" ? how : "project quota" }),
  btrfs: (deps) => createBtrfsBackend(deps),
  image: (deps, { config, log }) =>
    createImageBackend(deps, { preallocate: config.preallocate ?? true, log }),
};

/** The real ones; tests that need no more than directories use them too. */
export function createOpenBackends(
  effects: BackendDeps,
  projectIds: ProjectIdRange = defaultProjectIds,
): OpenBackends {
  // Pools may share a file system, and with it the project ids.
  const deps = { ...effects, ids: createProjectIds(effects.quota, projectIds) };
  return async (pool) => {
    const { config, layout } = pool;
    const finding = await probeBackend(deps, { name: config.name, layout, wanted: config.backend });
    const made = new Map<BackendName, Backend>();
    const get = (name: BackendName): Backend => {
      const backend = made.get(name) ?? makers[name]?.(deps, pool, finding);
      if (!backend)
        throw refusal("precondition", config.name, `pool "${config.name}" has no ${name} volumes`);
      made.set(name, backend);
      return backend;
    };
    return { chosen: get(finding.backend), finding, of: ({ backend = "directory" }) => get(backend) };
  };
}
