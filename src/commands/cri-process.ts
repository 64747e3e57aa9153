/** The process of `trivet cri`: socket, tap, policies, record. It loads nothing of the other legs. */
import { createServer } from "node:net";
import type { CriConfig } from "../config/cri.ts";
import { createCalls } from "../cri/calls.ts";
import type { RuntimePolicy } from "../cri/policy/schema.ts";
import type { CallRecord } from "../cri/record/call-record.ts";
import { createMethodLabels } from "../cri/record/method-labels.ts";
import { createProxy } from "../cri/tap/proxy.ts";
import { listenUnix } from "../host/unix-socket.ts";
import type { HealthServer } from "../observe/health.ts";
import { createLog, type Log, type LogLevel } from "../observe/log.ts";
import { type CallLog, openCallLog } from "./call-log.ts";
import { endOnSignals } from "./life-cycle.ts";
import { readPolicyDirectory } from "./policy-directory.ts";

interface Observers {
  record(record: CallRecord): void;
  stop(): Promise<void>;
}

async function startObservers(config: CriConfig, log: Log): Promise<Observers> {
  const callLog: CallLog = await openCallLog(config.callLog, log);
  if (!config.metricsAddress) return { record: callLog.write, stop: callLog.close };
  // Loaded on demand: the library is a quarter of the memory of this process.
  const [{ createMetrics }, { startHealthServer }] = await Promise.all([
    import("../observe/metrics.ts"),
    import("../observe/health.ts"),
  ]);
  const metrics = createMetrics();
  const labelOf = createMethodLabels();
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
      observe({ method: labelOf(record.method), code: record.status, durationMs: record.totalMs });
    },
    async stop() {
      await health.stop();
      await callLog.close();
    },
  };
}

/** Resolves when the socket accepts; the process then lives until a signal ends it. */
export async function runCri(config: CriConfig, logLevel: LogLevel): Promise<void> {
  const log = createLog("cri", logLevel);
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
