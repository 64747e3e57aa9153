/** `trivet cri`: the proxy between the kubelet and the runtime. Loads nothing of the other legs. */
import { createServer } from "node:net";
import type { Command } from "commander";
import { type CriConfig, criFileSchema, defaultListen, defaultUpstream } from "../config/cri.ts";
import { formatTcpAddress } from "../config/values.ts";
import { createCalls } from "../cri/calls.ts";
import type { RuntimePolicy } from "../cri/policy/schema.ts";
import type { CallRecord } from "../cri/record/call-record.ts";
import { createProxy } from "../cri/tap/proxy.ts";
import { listenUnix } from "../host/unix-socket.ts";
import type { HealthServer } from "../observe/health.ts";
import { createLog, type Log } from "../observe/log.ts";
import { type CallLog, openCallLog } from "./call-log.ts";
import { endOnSignals } from "./life-cycle.ts";
import { readPolicyDirectory } from "./policy-directory.ts";
import { addSettings, printSettings, readSettings, type Setting } from "./settings.ts";

const settings: readonly Setting[] = [
  {
    path: "cri.listen",
    flag: "--listen <address>",
    help: "socket that the kubelet is told to use, unix:///PATH",
    default: defaultListen,
  },
  {
    path: "cri.upstream",
    flag: "--upstream <address>",
    help: "socket of the container runtime, unix:///PATH",
    default: defaultUpstream,
  },
  {
    path: "cri.policyDir",
    flag: "--policy-dir <dir>",
    help: "directory of RuntimePolicy files (*.yaml); without it no call is changed",
  },
  {
    path: "cri.callLog",
    flag: "--call-log <file>",
    help: "write one JSON line a call to this file, or - for stdout; without it calls go to the log, polls at debug",
  },
  {
    path: "cri.metricsAddress",
    flag: "--metrics-address <host:port>",
    help: "serve /metrics, /healthz and /readyz here; off without it",
  },
  {
    path: "cri.drainSeconds",
    flag: "--drain-seconds <seconds>",
    help: "how long calls in flight may take to end when told to stop",
    default: "10",
  },
];

export function define(command: Command): void {
  addSettings(command, settings);
  command.addHelpText(
    "after",
    `
Example:
  trivet cri --listen unix:///run/trivet/cri.sock --upstream unix:///run/containerd/containerd.sock \\
             --policy-dir /etc/trivet/policies --call-log /var/log/trivet/calls.jsonl

It is ready when its socket accepts. SIGTERM lets calls in flight end; a second signal ends it at once.`,
  );
  command.action(async () => {
    const { cri, logLevel } = await readSettings(command, settings, criFileSchema);
    if (printSettings(command, { logLevel, cri: toFile(cri) })) return;
    await run(cri, createLog("cri", logLevel));
  });
}

/** The settings in force, in the form that the file has. */
function toFile({
  listen,
  upstream,
  metricsAddress,
  drainSeconds,
  ...rest
}: CriConfig): Record<string, unknown> {
  return {
    listen: `unix://${listen}`,
    upstream: `unix://${upstream}`,
    ...rest,
    ...(metricsAddress && { metricsAddress: formatTcpAddress(metricsAddress) }),
    drainSeconds: drainSeconds / 1000,
  };
}

interface Observers {
  record(record: CallRecord): void;
  stop(): Promise<void>;
}

async function startObservers(config: CriConfig, log: Log): Promise<Observers> {
  const callLog: CallLog = openCallLog(config.callLog, log);
  if (!config.metricsAddress) return { record: callLog.write, stop: callLog.close };
  // Loaded on demand: the library is a quarter of the memory of this process.
  const [{ createMetrics }, { startHealthServer }] = await Promise.all([
    import("../observe/metrics.ts"),
    import("../observe/health.ts"),
  ]);
  const metrics = createMetrics();
  const observe = metrics.callObserver("trivet_cri", "CRI calls through the proxy");
  const health: HealthServer = await startHealthServer({
    ...config.metricsAddress,
    metrics,
    notReady: () => undefined,
  });
  log.info("serving metrics", { host: config.metricsAddress.host, port: health.port });
  return {
    record(record) {
      callLog.write(record);
      // A path that is no CRI method may be anything: it must not become a label each.
      const method = record.method.startsWith("/") ? "other" : record.method;
      observe({ method, code: record.status, durationMs: record.totalMs });
    },
    async stop() {
      await health.stop();
      await callLog.close();
    },
  };
}

async function run(config: CriConfig, log: Log): Promise<void> {
  const policies: readonly RuntimePolicy[] = config.policyDir
    ? await readPolicyDirectory(config.policyDir)
    : [];
  const observers = await startObservers(config, log);
  const hooks = createCalls({ policies, record: observers.record, nowMs: () => Date.now() });
  const proxy = createProxy({ upstreamPath: config.upstream, hooks, log });
  const server = createServer({ allowHalfOpen: true }, (client) => proxy.accept(client));
  const published = await listenUnix(server, config.listen);
  log.info("ready", {
    listen: config.listen,
    upstream: config.upstream,
    policies: policies.map(({ name }) => name),
  });
  endOnSignals({
    log,
    // A little more than the drain itself, which ends by its own bound.
    timeoutMs: config.drainSeconds + 1_000,
    async stop() {
      await published.withdraw();
      server.close();
      await proxy.drain({ timeoutMs: config.drainSeconds });
      proxy.close();
      await observers.stop();
    },
  });
}
