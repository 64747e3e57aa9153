/** `Freezer` in memory: which mount points are frozen, and a hook that says what happened. */
import { errnoError } from "../../src/host/errno.ts";
import type { Freezer } from "../../src/host/freeze.ts";

export interface FakeFreezer extends Freezer {
  /** Frozen at the moment, as a process that was killed would leave them. */
  readonly frozen: Set<string>;
  /** Called before each step. */
  onEffect: ((op: "freeze" | "thaw", mountPoint: string) => void) | undefined;
}

/** Nothing is frozen. The bound of `whileFrozen` never expires here. */
export function createFakeFreezer(): FakeFreezer {
  const frozen = new Set<string>();
  const fake: FakeFreezer = {
    frozen,
    onEffect: undefined,
    async whileFrozen(mountPoint, _, work) {
      fake.onEffect?.("freeze", mountPoint);
      if (frozen.has(mountPoint)) throw errnoError("EBUSY", "freeze", mountPoint);
      frozen.add(mountPoint);
      try {
        return await work(new AbortController().signal);
      } finally {
        frozen.delete(mountPoint);
      }
    },
    async thaw(mountPoint) {
      fake.onEffect?.("thaw", mountPoint);
      return frozen.delete(mountPoint);
    },
  };
  return fake;
}
