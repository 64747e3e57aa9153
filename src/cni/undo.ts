/**
 * Undo steps of one call. Each is registered before its step runs, because a step that failed may have had its effect
 * all the same; so each undo must be harmless where there is nothing to undo. Unwinding stops where it fails: what was
 * made earlier, the record first of all, is what leads the runtime's DEL to the rest.
 */
import { withCleanupFailure } from "../errors.ts";

/** For one call. */
export interface Undo {
  /** `action` must be idempotent and touch only what this call made. */
  register(action: () => Promise<void>): void;
  /** Runs all in reverse order, up to one that fails. Gives `cause`, with that failure attached to it. */
  unwind(cause: unknown): Promise<unknown>;
}

/** Empty: unwinding it does nothing. */
export function createUndo(): Undo {
  const actions: (() => Promise<void>)[] = [];
  return {
    register: (action) => void actions.push(action),
    async unwind(cause) {
      try {
        for (let action = actions.pop(); action; action = actions.pop()) await action();
        return cause;
      } catch (failure) {
        return withCleanupFailure(cause, failure);
      }
    },
  };
}
