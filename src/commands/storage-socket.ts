/** What `trivet node` answers on its storage socket: the questions of `trivet storage`, by name. */
import type { AdoptRequest } from "../csi/adopt/plan.ts";
import type { OrphansRequest, StorageAdmin } from "../csi/storage-admin.ts";
import { type AdminServer, serveAdmin } from "../host/admin-socket.ts";
import type { Log } from "../observe/log.ts";

/**
 * Undefined where the socket cannot be had: volumes are served all the same, and `trivet storage` will say that nobody
 * answers.
 */
export type ServeStorage = (path: string, admin: StorageAdmin, log: Log) => Promise<AdminServer | undefined>;

/** The real one. */
export const serveStorage: ServeStorage = async (path, admin, log) => {
  try {
    // Whoever opens the socket is root, and runs the same release: what is asked has the form that it should have.
    return await serveAdmin(path, {
      volumes: () => admin.volumes(),
      pools: () => admin.pools(),
      orphans: (request) => admin.orphans(request as OrphansRequest),
      undelete: (request) => admin.undelete(request as { id: string }),
      adopt: (request) => admin.adopt(request as AdoptRequest),
    });
  } catch (error) {
    log.warn("no storage socket: trivet storage will find nobody", { path, error: (error as Error).message });
    return undefined;
  }
};
