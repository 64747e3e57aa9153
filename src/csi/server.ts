/** The CSI leg as a whole: its services on a socket, from the start-up scan to the last call in flight. */
import type { Log } from "../observe/log.ts";
import type { CallReport } from "./call.ts";
import type { CsiDeps } from "./deps.ts";
import { createDriver } from "./driver.ts";
import type { InlineSettings } from "./node/inline.ts";
import type { PoolChoice, PoolConfig } from "./pool/config.ts";
import type { PoolStatus } from "./pool/pool.ts";
import type { CopySample } from "./snapshot/copies.ts";
import { errorToStatus } from "./status.ts";
import type { StorageAdmin } from "./storage-admin.ts";
import type { DeletedVolumes } from "./volume/deleted-volumes.ts";

/** The calls of one volume, and of the next, follow one another more closely. */
const TRASH_QUIET_MS = 30;

/** What `trivet node` tells this leg. */
export interface CsiOptions {
  /** The path of the socket. */
  readonly endpoint: string;
  readonly nodeId: string;
  readonly driverVersion: string;
  readonly pools: readonly PoolConfig[];
  readonly poolChoice?: PoolChoice;
  /** Absent: pods get no inline volumes. */
  readonly inline?: InlineSettings;
  readonly kubeletRoot: string;
  readonly stateDir: string;
  readonly deps: CsiDeps;
  readonly log: Log;
  /** Told of every call when it ends, for metrics. */
  readonly onCall?: (call: CallReport) => void;
  /** Told of every copy while it is made, for metrics. */
  readonly onCopy?: (sample: CopySample) => void;
  readonly copyWaitMs?: number;
  readonly getSnapshot?: boolean;
}

/** A driver that is being served. */
export interface CsiServer {
  /** Resolves when the scan at the start is over and Probe says "ready". */
  readonly ready: Promise<void>;
  /** Takes the socket away, drains, and leaves what is still being removed for the next start. */
  stop(options: { readonly timeoutMs: number }): Promise<void>;
  pools(): Promise<readonly PoolStatus[]>;
  /** What was deleted and can be brought back. */
  readonly deleted: DeletedVolumes;
  /** What administrators may ask. */
  readonly admin: StorageAdmin;
}

/**
 * Resolves when the socket accepts; the scan runs meanwhile, and calls that need a pool wait for it. Throws `invalid`
 * for options that cannot work and `conflict` where another process serves the socket.
 */
export async function startCsi(options: CsiOptions): Promise<CsiServer> {
  const { deps, endpoint } = options;
  const driver = createDriver({ trashQuietMs: TRASH_QUIET_MS, ...options });
  const server = await deps.serve({
    api: "csi",
    path: endpoint,
    handlers: driver.handlers,
    statusOf: errorToStatus,
  });
  return {
    ready: driver.scan(),
    pools: driver.pools,
    deleted: driver.deleted,
    admin: driver.admin,
    async stop({ timeoutMs }) {
      const bound = new AbortController();
      const late = deps.clock.sleep(timeoutMs, bound.signal).catch(() => undefined);
      await Promise.all([server.stop({ timeoutMs }), Promise.race([driver.stop(), late])]);
      bound.abort();
    },
  };
}
