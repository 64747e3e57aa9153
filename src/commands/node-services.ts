/** The services of `trivet node` as one thing to start and stop. The effects are arguments: the demo brings fakes. */
import { startCniAgent } from "../cni/agent.ts";
import type { CniDeps } from "../cni/deps.ts";
import type { NodeConfig } from "../config/node.ts";
import { formatTcpAddress } from "../config/values.ts";
import type { CsiDeps } from "../csi/deps.ts";
import { driverName } from "../csi/names.ts";
import { startCsi } from "../csi/server.ts";
import type { CopySample } from "../csi/snapshot/copies.ts";
import type { ClusterAccess } from "../kube/access.ts";
import { type Registration, registerWithKubelet } from "../kubelet/registration.ts";
import { startHealthServer } from "../observe/health.ts";
import type { Log } from "../observe/log.ts";
import { createMetrics } from "../observe/metrics.ts";
import { version } from "../version.ts";
import { showBuild, showLeases, showRegistration, showStorage } from "./node-metrics.ts";
import { startNodeNetwork } from "./node-network.ts";
import type { ServeStorage } from "./storage-socket.ts";

export interface NodeHost {
  readonly csi: CsiDeps;
  readonly cni: Omit<CniDeps, "observer">;
  /** The API server, where there is one to ask. */
  readonly cluster?: ClusterAccess | undefined;
  /** Answers `trivet storage`; absent where nobody is to ask. */
  readonly serveStorage?: ServeStorage;
}

export interface NodeServices {
  /** Ends calls in flight within the bound. */
  stop(options: { readonly timeoutMs: number }): Promise<void>;
}

/** For what was begun by the time that a start fails, such as a scan. */
const FAILED_START_STOP_MS = 2_000;

interface Part {
  stop(timeoutMs: number): Promise<void>;
  /** Resolves when it does what it is there for; it accepts calls before. */
  readonly ready?: Promise<void>;
}

/** Starts what the configuration asks for. If one part cannot start, those before it are stopped again. */
export async function startNodeServices(config: NodeConfig, host: NodeHost, log: Log): Promise<NodeServices> {
  const metrics = createMetrics();
  const parts: Part[] = [];
  let notReady: string | undefined = "starting";
  const stop = async (timeoutMs: number) => {
    notReady = "stopping";
    // Together: the bound is for the whole process.
    await Promise.all(parts.splice(0).map((part) => part.stop(timeoutMs)));
  };
  try {
    // First, so that a probe can see the start itself.
    showBuild(metrics);
    const health = await startHealthServer({ ...config.healthAddress, metrics, notReady: () => notReady });
    parts.push({ stop: () => health.stop() });
    if (config.csi.enabled) parts.push(await startCsiPart(config, host, { log, metrics }));
    if (config.cni.enabled) parts.push(await startCniPart(config, host, { log, metrics }));
    await Promise.all(parts.map(({ ready }) => ready));
    notReady = undefined;
    log.info("ready", {
      node: config.nodeId,
      health: formatTcpAddress({ ...config.healthAddress, port: health.port }),
    });
    return { stop: ({ timeoutMs }) => stop(timeoutMs) };
  } catch (error) {
    await stop(FAILED_START_STOP_MS);
    throw error;
  }
}

interface Observers {
  readonly log: Log;
  readonly metrics: ReturnType<typeof createMetrics>;
}

async function startCsiPart(config: NodeConfig, host: NodeHost, { log, metrics }: Observers): Promise<Part> {
  const csi = await startCsi({
    endpoint: config.csi.endpoint,
    nodeId: config.nodeId,
    driverVersion: version,
    pools: config.csi.pools,
    poolChoice: config.csi.poolChoice,
    ...(config.csi.inlineMaxSize === undefined ? {} : { inline: { maxBytes: config.csi.inlineMaxSize } }),
    kubeletRoot: config.kubeletRoot,
    stateDir: config.stateDir,
    deps: host.csi,
    log: log.child({ leg: "csi" }),
    onCall: metrics.callObserver("trivet_csi", "CSI calls served"),
    onCopy: copyObserver(metrics),
    copyWaitMs: config.csi.copyWaitSeconds,
    getSnapshot: config.csi.getSnapshot,
  });
  showStorage(metrics, csi, host.csi.clock);
  const storage = await host.serveStorage?.(config.csi.adminSocket, csi.admin, log.child({ leg: "csi" }));
  const stopCsi = async (timeoutMs: number) => {
    await storage?.stop();
    await csi.stop({ timeoutMs });
  };
  if (!config.register) return { stop: stopCsi, ready: csi.ready };
  const registration = await registerDriver(config, host, log).catch(async (error: unknown) => {
    await stopCsi(FAILED_START_STOP_MS);
    throw error;
  });
  showRegistration(metrics, registration);
  return {
    ready: csi.ready,
    async stop(timeoutMs) {
      // First the kubelet is told that the driver goes, then the driver goes.
      await registration.stop({ timeoutMs });
      await stopCsi(timeoutMs);
    },
  };
}

function registerDriver(config: NodeConfig, host: NodeHost, log: Log): Promise<Registration> {
  return registerWithKubelet({
    kubeletRoot: config.kubeletRoot,
    driverName,
    endpoint: config.csi.endpoint,
    serve: host.csi.serve,
    log: log.child({ leg: "csi" }),
  });
}

/** gRPC is loaded only where there is somebody to speak to. */
async function sandboxesAt(socket: string | undefined) {
  if (socket === undefined) return undefined;
  return (await import("../host/cri-sandboxes.ts")).createSandboxLister(socket);
}

async function startCniPart(config: NodeConfig, host: NodeHost, { log, metrics }: Observers): Promise<Part> {
  const observe = metrics.callObserver("trivet_cni", "CNI calls served by the agent");
  const step = metrics.steps("trivet_cni_step_duration_seconds", "Steps of CNI calls, in the agent.");
  showLeases(metrics, host.cni, config.cni.stateDir);
  const swept = metrics.counter(
    "trivet_cni_swept_total",
    "Leftovers of dead pods that were settled.",
    "kind",
  );
  const waiting = metrics.gauge("trivet_cni_sweep_waiting", "Leftovers that the next look may settle.");
  const failed = metrics.counter("trivet_cni_sweep_failures_total", "Looks and removals that failed.");
  const agent = await startCniAgent({
    socketPath: config.cni.socket,
    stateDir: config.cni.stateDir,
    sandboxes: await sandboxesAt(config.cni.criSocket),
    deps: {
      ...host.cni,
      observer: {
        call: ({ command, code, ms }) => observe({ method: command, code: String(code), durationMs: ms }),
        step: ({ command, step: name, ms }) => step(command, name, ms),
        swept(look) {
          for (const kind of look.settled) swept(1, kind);
          waiting(look.waiting);
          failed(look.failed);
        },
      },
    },
    log: log.child({ leg: "cni" }),
  });
  const network = startNodeNetwork(config, host, { log: log.child({ leg: "cni" }), metrics });
  return {
    stop: async (timeoutMs) => {
      await Promise.all([network.stop(), agent.stop({ timeoutMs })]);
    },
  };
}

/** Copies for snapshots, restores and clones: how many run, how they ended, and what they have copied. */
function copyObserver({ gauge, counter }: ReturnType<typeof createMetrics>): (sample: CopySample) => void {
  const running = gauge("trivet_csi_copies_running", "Copies of volumes that are being made.");
  const ended = counter(
    "trivet_csi_copies_total",
    "Copies of volumes that have ended, by outcome.",
    "outcome",
  );
  const bytes = counter("trivet_csi_copied_bytes_total", "Bytes copied, by what for.", "kind");
  let count = 0;
  return (sample) => {
    if (sample.event === "progress") return bytes(Math.max(0, sample.bytes), sample.kind);
    count += sample.event === "started" ? 1 : -1;
    running(count);
    if (sample.event !== "started") ended(1, sample.event);
  };
}
