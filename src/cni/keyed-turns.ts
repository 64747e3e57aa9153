/** Lets calls with the same key run one after another, in the order in which they came; others run side by side. */

import type { AttachmentKey } from "./state/paths.ts";

/** Waits inside one process only; between processes the guards of the state files decide. */
export interface KeyedTurns {
  run<T>(key: string, work: () => Promise<T>): Promise<T>;
  /** Whether somebody is at work under this key. */
  isBusy(key: string): boolean;
  busyKeys(): string[];
}

/** The key of one attachment: calls for it run one after another. No part can hold a space. */
export function turnKey({ network, containerId, ifname }: AttachmentKey): string {
  return [network, containerId, ifname].join(" ");
}

/** Keys that nobody waits for take no memory. */
export function createKeyedTurns(): KeyedTurns {
  const last = new Map<string, Promise<unknown>>();
  return {
    isBusy: (key) => last.has(key),
    busyKeys: () => [...last.keys()],
    async run(key, work) {
      const before = last.get(key) ?? Promise.resolve();
      const turn = before.then(work);
      const settled = turn.catch(() => undefined); // the failure is the caller's; the next one has its own turn
      last.set(key, settled);
      try {
        return await turn;
      } finally {
        if (last.get(key) === settled) last.delete(key);
      }
    },
  };
}
