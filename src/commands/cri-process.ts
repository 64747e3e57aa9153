/** The process of `trivet cri`: socket, tap, policies, record. It loads nothing of the other legs. */
import { createServer } from "node:net";
import type { CriConfig } from "../config/cri.ts";
import { createCalls } from "../cri/calls.ts";
import { createPodIndex } from "../cri/pods/pod-index.ts";
import { createRuntimeClient } from "../cri/pods/runtime-client.ts";
import type { RuntimePolicy } from "../cri/policy/schema.ts";
import { createProxy } from "../cri/tap/proxy.ts";
import { listenUnix } from "../host/unix-socket.ts";
import { createLog, type LogLevel } from "../observe/log.ts";
import { startObservers } from "./cri/observers.ts";
import { endOnSignals } from "./life-cycle.ts";
import { readPolicyDirectory } from "./policy-directory.ts";

/** Resolves when the socket accepts; the process then lives until a signal ends it. */
export async function runCri(config: CriConfig, logLevel: LogLevel): Promise<void> {
  const log = createLog("cri", logLevel);
  const policies: readonly RuntimePolicy[] = config.policyDir
    ? await readPolicyDirectory(config.policyDir)
    : [];
  const runtime = createRuntimeClient({ path: config.upstream });
  const pods = createPodIndex({ ask: runtime.ask });
  let proxy: ReturnType<typeof createProxy> | undefined;
  const observers = await startObservers({ config, log, pods, stats: () => proxy?.stats() });
  proxy = createProxy({
    upstreamPath: config.upstream,
    hooks: createCalls({ policies, ...observers.watch }),
    log,
  });
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
      runtime.close();
      await observers.stop();
    },
  });
}
