/**
 * Which project ids are taken. The file system is asked, not a list: an id is free if nothing counts for it and no limit
 * is set for it, so that other users of projects and remains of our own are respected. In memory are only the volumes
 * that were seen, so that two with one id are noticed, and what is being taken at this moment.
 */
import { createHash } from "node:crypto";
import type { ProjectQuota } from "../../host/quota.ts";
import { refusal } from "../refusal.ts";

/** Ids that volumes may get, both ends included. */
export interface ProjectIdRange {
  readonly first: number;
  readonly last: number;
}

/**
 * Away from those that people give (small ones) and from the kubelet's, which counts up from 1048577 where it watches
 * the local storage of pods.
 */
export const defaultProjectIds: ProjectIdRange = { first: 1_073_741_824, last: 1_074_741_823 };

/** The ids of one node: pools may share a file system, and with it the ids. */
export interface ProjectIds {
  /**
   * Finds an id that nothing uses on the file system of `path`, and keeps it for the volume until `release`. Throws
   * `exhausted` when a long search found none.
   */
  take(path: string, volume: string): Promise<number>;
  /** A volume that was made earlier; `precondition` if another volume has its id. */
  enter(id: number, volume: string): void;
  release(id: number, volume: string): void;
  /** Whether it is one that volumes may get, and no volume but this one is known to have it. */
  mayBelongTo(id: number, volume: string): boolean;
}

/** How many ids are tried before the range counts as used up. */
const MOST_TRIES = 10_000;

/** No ids are known at first: every volume of an open pool is entered. */
export function createProjectIds(quota: ProjectQuota, range: ProjectIdRange = defaultProjectIds): ProjectIds {
  const owners = new Map<number, string>();
  const size = range.last - range.first + 1;
  return {
    async take(path, volume) {
      const start = createHash("sha256").update(volume).digest().readUInt32BE() % size;
      for (let step = 0; step < Math.min(size, MOST_TRIES); step++) {
        const id = range.first + ((start + step) % size);
        if (owners.has(id)) continue;
        owners.set(id, volume);
        const used = await quota.read(path, id).catch((error) => {
          owners.delete(id);
          throw error;
        });
        if (used.bytes + used.inodes + used.usedBytes + used.usedInodes === 0) return id;
        owners.delete(id);
      }
      throw refusal(
        "exhausted",
        path,
        `no project id from ${range.first} to ${range.last} is free on ${path}`,
      );
    },
    enter(id, volume) {
      const owner = owners.get(id) ?? volume;
      if (owner !== volume) {
        throw refusal(
          "precondition",
          volume,
          `volume ${volume} has project id ${id}, which is volume ${owner}'s: both count for one limit`,
        );
      }
      owners.set(id, volume);
    },
    release(id, volume) {
      if (owners.get(id) === volume) owners.delete(id);
    },
    mayBelongTo: (id, volume) =>
      id >= range.first && id <= range.last && (owners.get(id) ?? volume) === volume,
  };
}
