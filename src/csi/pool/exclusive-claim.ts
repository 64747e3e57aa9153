/**
 * Two processes on one pool would both give away the same budget, and each take what the other builds in `staging` for
 * garbage. So a pool is opened by the process that holds its identity, and by no other of the machine.
 */
import { isKind } from "../../errors.ts";
import type { HeldName, HoldName } from "../../host/exclusive.ts";
import { refusal } from "../refusal.ts";

/** The claim of one pool of this process. */
export interface ExclusiveClaim {
  /** Throws `unavailable` where another process works on the disk of this identity. */
  take(uuid: string): Promise<void>;
  release(): Promise<void>;
}

/** Nothing is held yet. What is taken stays held while the disk is away: what comes back is ours. */
export function createExclusiveClaim(hold: HoldName, pool: string): ExclusiveClaim {
  let held: (HeldName & { readonly uuid: string }) | undefined;
  const release = async () => {
    await held?.release();
    held = undefined;
  };
  return {
    release,
    async take(uuid) {
      if (held?.uuid === uuid) return;
      await release();
      try {
        const { release } = await hold(`trivet/pool/${uuid}`);
        held = { uuid, release };
      } catch (error) {
        if (!isKind(error, "conflict")) throw error;
        const message = `pool "${pool}" is unavailable: another process on this node works on its disk: stop that one first`;
        throw refusal("unavailable", pool, message, error);
      }
    },
  };
}
