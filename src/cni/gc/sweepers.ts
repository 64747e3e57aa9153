/**
 * The sweepers of one process: one for each state directory that its calls name, so that what was seen is remembered from look to
 * look. Runs none by itself: an ADD without an address does, and the loop of the agent.
 */
import type { Log } from "../../observe/log.ts";
import type { CallContext } from "../context.ts";
import type { CniDeps } from "../deps.ts";
import type { KeyedTurns } from "../keyed-turns.ts";
import type { NetworkIdentity } from "../protocol/netconf.ts";
import type { LiveSandboxes } from "./live-sandboxes.ts";
import { reclaim } from "./reclaim.ts";
import { createSweeper, type Sweeper } from "./sweeper.ts";
import { turnOf } from "./verb.ts";

/** By state directory. */
export interface Sweepers {
  forDirectory(stateDir: string): Sweeper;
  /** What an ADD of this network is given. */
  forNetwork(identity: NetworkIdentity, signal: AbortSignal): Pick<CallContext, "reclaim" | "crowded">;
  /** Called with a state directory when an ADD finds most addresses of a network leased. */
  onCrowded: ((stateDir: string) => void) | undefined;
}

interface SweepersOptions {
  readonly deps: CniDeps;
  readonly log: Log;
  readonly turns: KeyedTurns;
  readonly sandboxes?: LiveSandboxes | undefined;
}

/** Has no effect by itself. */
export function createSweepers({ deps, log, turns, sandboxes }: SweepersOptions): Sweepers {
  const byDirectory = new Map<string, Sweeper>();
  const forDirectory = (stateDir: string): Sweeper => {
    const known = byDirectory.get(stateDir);
    if (known) return known;
    const sweeper = createSweeper({
      ...{ deps, stateDir, log, sandboxes },
      // What a call is at work on is looked at another time.
      inTurn: async (finding, work) => {
        const key = turnOf(finding);
        return turns.isBusy(key) ? false : turns.run(key, work);
      },
    });
    byDirectory.set(stateDir, sweeper);
    return sweeper;
  };
  const reclaiming = new Map<string, Promise<number>>();
  // Each look reads the whole network: all ADDs that wait for an address at the same time share one.
  const reclaimOnce = (network: string, stateDir: string): Promise<number> => {
    const key = `${stateDir}\0${network}`;
    const known = reclaiming.get(key);
    if (known) return known;
    const fresh = reclaim({ clock: deps.clock, sweeper: forDirectory(stateDir), network });
    reclaiming.set(key, fresh);
    return fresh.finally(() => reclaiming.delete(key));
  };
  const sweepers: Sweepers = {
    forDirectory,
    forNetwork: ({ name, stateDir }, signal) => ({
      async reclaim() {
        const freed = await reclaimOnce(name, stateDir);
        signal.throwIfAborted();
        return freed;
      },
      crowded: () => sweepers.onCrowded?.(stateDir),
    }),
    onCrowded: undefined,
  };
  return sweepers;
}
