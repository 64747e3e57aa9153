/** Who is told of calls in the process of `trivet cri`: the call log, and metrics where they are asked for. */
import type { CriConfig } from "../../config/cri.ts";
import type { PodIndex } from "../../cri/pods/pod-index.ts";
import type { CallWatchOptions } from "../../cri/record/call-watch.ts";
import { createSkew } from "../../cri/record/skew.ts";
import type { ProxyStats } from "../../cri/tap/proxy.ts";
import type { HealthServer } from "../../observe/health.ts";
import type { Log } from "../../observe/log.ts";
import { openCallLog } from "../call-log.ts";
import type { CriMetrics } from "./metrics.ts";

export interface CriObservers {
  /** For `createCalls`. */
  readonly watch: CallWatchOptions;
  reloaded(what: "policies" | "process", result: "ok" | "failed"): void;
  /**
   * Serves the metrics where they are wanted. Apart from the start, since only one process has their port, which goes from one
   * to the next in a reload. Throws where the address is taken.
   */
  openAddress(): Promise<void>;
  closeAddress(): Promise<void>;
  stop(): Promise<void>;
}

export interface ObserverDeps {
  readonly config: CriConfig;
  readonly log: Log;
  readonly pods: PodIndex;
  /** The tap's, once there is one. */
  readonly stats: () => ProxyStats | undefined;
  /** What `/readyz` says, where something is wrong. */
  readonly notReady?: () => string | undefined;
}

interface ServedMetrics {
  readonly cri: CriMetrics;
  open(): Promise<void>;
  close(): Promise<void>;
}

async function prepareMetrics({
  config: { metricsAddress },
  log,
  pods,
  stats,
  notReady = () => undefined,
}: ObserverDeps): Promise<ServedMetrics | undefined> {
  if (!metricsAddress) return undefined;
  // Loaded on demand: the library is a quarter of the memory of this process.
  const [{ createMetrics }, { startHealthServer }, { createCriMetrics }] = await Promise.all([
    import("../../observe/metrics.ts"),
    import("../../observe/health.ts"),
    import("./metrics.ts"),
  ]);
  const metrics = createMetrics();
  const none = { connections: 0, streams: 0, heldBytes: 0 };
  const cri = createCriMetrics(metrics, () => ({ ...(stats() ?? none), known: pods.size }));
  let health: HealthServer | undefined;
  return {
    cri,
    async open() {
      if (health) return; // it was not given away
      health = await startHealthServer({ ...metricsAddress, metrics, notReady });
      log.info("serving metrics", { host: metricsAddress.host, port: health.port });
    },
    async close() {
      const open = health;
      health = undefined;
      await open?.stop();
    },
  };
}

const MEBIBYTE = 1 << 20;

/** Throws where the call log cannot be opened. The metrics are not served yet. */
export async function startObservers(deps: ObserverDeps): Promise<CriObservers> {
  const { config, log, pods } = deps;
  let served: ServedMetrics | undefined;
  const callLog = await openCallLog({
    target: config.callLog,
    levels: config.callLogLevels,
    slowMs: config.callLogSlowMs,
    rotation: { maxBytes: config.callLogMaxMebibytes * MEBIBYTE, keep: config.callLogKeep },
    log,
    onLost: (records) => served?.cri.lost(records),
  });
  served = await prepareMetrics(deps);
  const metrics = served?.cri;
  return {
    watch: {
      pods,
      nowMs: () => Date.now(),
      record(record) {
        callLog.write(record);
        metrics?.record(record);
      },
      ...(metrics && { skew: createSkew({ onField: metrics.unknownField }) }),
    },
    reloaded: (what, result) => metrics?.reloaded(what, result),
    openAddress: async () => served?.open(),
    closeAddress: async () => served?.close(),
    async stop() {
      await served?.close();
      await callLog.close();
    },
  };
}
