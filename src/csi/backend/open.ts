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
import { createDirectoryBackend } from "./directory.ts";

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
  /** What this volume is made of; `precondition` for a kind that this pool cannot serve. */
  of(record: Pick<VolumeRecord, "backend">): Backend;
}

/** Asked whenever a pool is opened. Throws `unavailable`, with the remedy, for a setting that the disk cannot serve. */
export type OpenBackends = (pool: BackendPool) => Promise<PoolBackends>;

type Make = (deps: BackendDeps, pool: BackendPool) => Backend;

/** How each kind is made; making it has no effect on the disk. */
const makers: Partial<Record<BackendName, Make>> = {
  directory: (deps) => createDirectoryBackend(deps),
};

/** The kind that the setting means on this disk. */
async function choose(_: BackendDeps, { config }: BackendPool): Promise<BackendName> {
  if (config.backend === "auto") return "directory";
  if (config.backend !== "quota") return config.backend;
  throw refusal("unavailable", config.name, `pool "${config.name}" asks for quotas, which it cannot have`);
}

/** The real ones; tests that need no more than directories use them too. */
export function createOpenBackends(deps: BackendDeps): OpenBackends {
  return async (pool) => {
    const made = new Map<BackendName, Backend>();
    const get = (name: BackendName): Backend => {
      const backend = made.get(name) ?? makers[name]?.(deps, pool);
      if (!backend) {
        throw refusal("precondition", pool.config.name, `pool "${pool.config.name}" has no ${name} volumes`);
      }
      made.set(name, backend);
      return backend;
    };
    return { chosen: get(await choose(deps, pool)), of: ({ backend = "directory" }) => get(backend) };
  };
}
