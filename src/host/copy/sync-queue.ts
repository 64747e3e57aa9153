/**
 * fsync(2) of what was written, some dozens at a time: the first of them makes the journal commit all, and the others
 * find their work done. One by one, a tree of small files would wait for a commit each.
 */

import { inLanes, type Slots } from "../slots.ts";
import { close, fsync } from "./descriptor.ts";

/** Descriptors that wait at once. */
const BATCH = 64;
const LANES = 2;

/** Descriptors given to it are synced and closed, whatever happens. */
export interface SyncQueue {
  /** Takes a descriptor over. May sync what has gathered. */
  add(fd: number): Promise<void>;
  /** Returns when everything is on the disk. */
  flush(): Promise<void>;
  /** Closes what is left without syncing it: the copy has failed. */
  abandon(): Promise<void>;
}

/** An empty queue; `check` throws when the copy is given up. */
export function createSyncQueue(slots: Slots, check: () => void): SyncQueue {
  let queued: number[] = [];
  const flush = async () => {
    const batch = queued;
    queued = [];
    try {
      await inLanes(batch, LANES, async (fd) => {
        check();
        await slots.run(() => fsync(fd));
      });
    } finally {
      for (const fd of batch) await close(fd);
    }
  };
  return {
    async add(fd) {
      queued.push(fd);
      if (queued.length >= BATCH) await flush();
    },
    flush,
    async abandon() {
      for (const fd of queued.splice(0)) await close(fd);
    },
  };
}
