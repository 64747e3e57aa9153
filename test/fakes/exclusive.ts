/** Names that one process holds at a time, in memory: whoever shares the function shares the machine. */
import { errnoError } from "../../src/host/errno.ts";
import type { HoldName } from "../../src/host/exclusive.ts";

export function createFakeHold(): HoldName {
  const held = new Set<string>();
  return async (name) => {
    if (held.has(name)) throw errnoError("EEXIST", "name.hold", name);
    held.add(name);
    return {
      async release() {
        held.delete(name);
      },
    };
  };
}
