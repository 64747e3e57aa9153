/** The process of `trivet node`: real effects, the services, and an end in order. */
import type { NodeConfig } from "../config/node.ts";
import { createSyscalls } from "../host/syscall.ts";
import { createLog, type LogLevel } from "../observe/log.ts";
import { findCluster } from "./cluster.ts";
import { createCniDeps, createCsiDeps } from "./host.ts";
import { endOnSignals } from "./life-cycle.ts";
import { startNodeServices } from "./node-services.ts";
import { serveStorage } from "./storage-socket.ts";

/** Resolves when everything serves; the process then lives until a signal ends it. */
export async function runNode(config: NodeConfig, logLevel: LogLevel): Promise<void> {
  const log = createLog("node", logLevel);
  const syscalls = createSyscalls();
  const [csi, cni] = [await createCsiDeps(syscalls), await createCniDeps(syscalls)];
  const host = {
    csi,
    cni,
    serveStorage,
    cluster: config.cni.enabled ? await findCluster(config, cni.files) : undefined,
  };
  const services = await startNodeServices(config, host, log);
  endOnSignals({
    log,
    // A little more than the drain itself, which ends by its own bound.
    timeoutMs: config.drainSeconds + 1_000,
    stop: () => services.stop({ timeoutMs: config.drainSeconds }),
  });
}
