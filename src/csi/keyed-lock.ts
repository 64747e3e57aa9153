/**
 * One operation per object at a time. Nobody waits: CSI wants ABORTED for a second call on the same volume, and the
 * caller backs off. Different volumes never meet here.
 */
import { refusal } from "./refusal.ts";

/** Held keys live in memory only: a process that dies holds nothing. */
export interface KeyedLock {
  /** Runs `work` while it holds all `keys`; throws `busy` at once where one of them is held. */
  run<T>(keys: readonly string[], work: () => Promise<T>): Promise<T>;
  isHeld(key: string): boolean;
}

/** A lock with no key held. One for the whole process: publish and delete of a volume exclude each other. */
export function createKeyedLock(): KeyedLock {
  const held = new Set<string>();
  return {
    async run(keys, work) {
      const busy = keys.find((key) => held.has(key));
      if (busy !== undefined) {
        throw refusal("busy", busy, `another operation on ${busy} is running: try again later`);
      }
      for (const key of keys) held.add(key);
      try {
        return await work();
      } finally {
        for (const key of keys) held.delete(key);
      }
    },
    isHeld: (key) => held.has(key),
  };
}
