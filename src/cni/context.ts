/** What one call works with: the effects, and what lasts from call to call within one process. */
import type { Log } from "../observe/log.ts";
import type { Rules } from "./datapath/rules.ts";
import type { CniDeps } from "./deps.ts";
import type { Cursors } from "./ipam/cursor.ts";
import type { Environment } from "./protocol/environment.ts";
import type { JsonObject } from "./protocol/problems.ts";

/** The call as the runtime made it: what another IPAM plugin is run with. */
export interface RawCall {
  readonly env: Environment;
  /** The whole configuration on stdin. */
  readonly config: JsonObject;
}

/** Made by `createPlugin` for each call. */
export interface CallContext {
  readonly deps: CniDeps;
  readonly rules: Rules;
  readonly cursors: Cursors;
  readonly log: Log;
  readonly request: RawCall;
  /** Frees what dead pods of the network left, for an ADD that finds no address; gives how many were freed. */
  readonly reclaim: () => Promise<number>;
  /** Told when an ADD finds most addresses leased: time to look for those of dead pods. */
  readonly crowded?: (() => void) | undefined;
  /** Aborted at the deadline, with a TrivetError of kind `deadline` as its reason. */
  readonly signal: AbortSignal;
}
