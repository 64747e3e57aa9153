/** The process of `trivet cri`: socket, tap, policies, record. It loads nothing of the other legs. */
import type { CriConfig } from "../config/cri.ts";
import { createCalls } from "../cri/calls.ts";
import { createPodIndex } from "../cri/pods/pod-index.ts";
import { createRuntimeClient } from "../cri/pods/runtime-client.ts";
import { type Afterwards, createAfterwards } from "../cri/record/afterwards.ts";
import { restrictListeners } from "../cri/serve/listener-hooks.ts";
import { allowedPaths } from "../cri/serve/methods.ts";
import { createProxy } from "../cri/tap/proxy.ts";
import { createServiceNotifier } from "../host/service-notify.ts";
import { createLog, type Log, type LogLevel } from "../observe/log.ts";
import { version } from "../version.ts";
import { Listeners, listenerSpecs } from "./cri/listeners.ts";
import { type CriObservers, startObservers } from "./cri/observers.ts";
import { openPolicies } from "./cri/policies.ts";
import { controlSocketPath, serveControl } from "./cri/reload-control.ts";
import { ReloadService } from "./cri/reload-service.ts";
import { type Beginning, inheritListeners, NameTakeOver, openPatiently } from "./cri/start.ts";
import { endOnSignals } from "./life-cycle.ts";

/** A process that only ends its calls is in nobody's way for long, once it is told to end. */
const LEAVING_DRAIN_MS = 2_000;

/** Resolves when the sockets accept; the process then lives until a signal or a reload ends it. */
export async function runCri(config: CriConfig, logLevel: LogLevel, beginning: Beginning): Promise<void> {
  const log = createLog("cri", logLevel);
  const runtime = createRuntimeClient({ path: config.upstream });
  const pods = createPodIndex({ ask: runtime.ask });
  const policies = await openPolicies(config, { log, pods });
  let proxy: ReturnType<typeof createProxy> | undefined;
  const { notReady } = policies;
  const observers = await startObservers({ config, log, pods, stats: () => proxy?.stats(), notReady });
  policies.report((result) => observers.reloaded("policies", result));
  const calls = createCalls({ ...policies.forCalls, ...observers.watch, afterwards: afterEvents(log) });
  const rules = config.listeners.map(({ name, methods }) => ({ name, paths: allowedPaths(methods) }));
  const tap = createProxy({ upstreamPath: config.upstream, hooks: restrictListeners(calls, rules), log });
  proxy = tap;
  const listeners = await openListeners(config, { beginning, log, tap });
  const notify = createServiceNotifier(process.env);
  const service = new ReloadService({
    version,
    log,
    tap,
    listeners,
    notify,
    addresses: { open: observers.openAddress, close: observers.closeAddress },
    reloadPolicies: policies.reload,
    onReloadFailed: () => observers.reloaded("process", "failed"),
    handOverMs: config.handOverSeconds,
    end: () => void observers.stop().finally(() => process.exit(0)),
  });
  // From the first accepted connection on, whoever ends us is to find us ready for it.
  reloadOnSignals(service, log);
  endOnSignals({
    log,
    // A little more than the drain itself, which ends by its own bound.
    timeoutMs: config.drainSeconds + 1_000,
    async stop() {
      await service.abandon();
      const timeoutMs = service.leaving
        ? Math.min(config.drainSeconds, LEAVING_DRAIN_MS)
        : config.drainSeconds;
      if (!service.leaving) {
        notify({ STOPPING: 1 }).catch(() => undefined);
        await (service.starting ? listeners.giveBack() : listeners.close());
        await service.control?.stop();
      }
      await tap.drain({ timeoutMs });
      tap.close();
      runtime.close();
      await observers.stop();
    },
  });
  try {
    await begin(config, beginning, { log, listeners, observers, service });
    service.started();
    if (beginning.predecessor || beginning.takeOver) observers.reloaded("process", "ok");
    // Whoever waits for us is told only now that all is there.
    await notify({ READY: 1, MAINPID: process.pid, STATUS: `serving ${config.listen}` });
  } catch (error) {
    await giveUp({ listeners, observers, service, tap, runtime });
    throw error;
  }
  beginning.predecessor?.serving();
  log.info("ready", {
    listen: config.listen,
    upstream: config.upstream,
    policies: policies.names(),
    listeners: listeners.open.map(({ name }) => name),
  });
}

/** Bytes of calls go on first; then what is kept of them is seen to. */
function afterEvents(log: Log): Afterwards {
  const onError = (error: unknown) =>
    log.error("a call was not recorded", {
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
  return createAfterwards({ schedule: process.nextTick, onError });
}

/** What is open would keep a process that nobody can use from ending. */
async function giveUp(open: {
  readonly listeners: Listeners;
  readonly observers: CriObservers;
  readonly service: ReloadService;
  readonly tap: { close(): void };
  readonly runtime: { close(): void };
}): Promise<void> {
  await open.listeners.giveBack();
  await open.service.control?.stop();
  open.tap.close();
  open.runtime.close();
  await open.observers.stop();
}

async function openListeners(
  config: CriConfig,
  { beginning, log, tap }: { beginning: Beginning; log: Log; tap: ReturnType<typeof createProxy> },
): Promise<Listeners> {
  const specs = await listenerSpecs(config);
  const names = specs.map(({ name }) => name);
  return Listeners.create({
    specs,
    inherited: await inheritListeners(beginning, names),
    accept: (client, listener) => tap.accept(client, { listener }),
    log,
  });
}

interface Parts {
  readonly log: Log;
  readonly listeners: Listeners;
  readonly observers: CriObservers;
  readonly service: ReloadService;
}

/** Comes to serve, in the way that this process was started for. */
async function begin(
  { listen }: CriConfig,
  { predecessor, takeOver }: Beginning,
  { log, listeners, observers, service }: Parts,
): Promise<void> {
  const control = async (inPlace: boolean) => {
    service.control = await serveControl(controlSocketPath(listen), service, { inPlace });
  };
  if (predecessor) {
    predecessor.prepared({ version, kept: listeners.kept });
    const gone = (await predecessor.turn()) === "gone";
    if (gone) log.warn("the process that served is gone: taking over");
    else await openPatiently(observers.openAddress);
    // Before a call is accepted: see `listen`.
    await control(true);
    await listeners.listen();
    return gone ? openLate(observers, log) : undefined;
  }
  if (takeOver) {
    const taken = await new NameTakeOver(listen, { listeners, log }).run();
    await control(taken);
    return openLate(observers, log);
  }
  await observers.openAddress();
  await listeners.listen();
  await control(false);
}

/** Nobody else serves any more: calls must not be lost for the sake of the metrics. */
async function openLate(observers: CriObservers, log: Log): Promise<void> {
  await openPatiently(observers.openAddress).catch((error: unknown) =>
    log.error("the metrics are not served", { error: String(error) }),
  );
}

/** Both say in the log how it went; `trivet cri reload` says it to whoever asks. */
function reloadOnSignals(service: ReloadService, log: Log): void {
  const report = (error: unknown) =>
    log.error("reload", { error: error instanceof Error ? error.message : String(error) });
  process.on("SIGHUP", () => {
    service.reloadPolicies().then((message) => log.info("SIGHUP", { message }), report);
  });
  process.on("SIGUSR2", () => void service.reload().catch(report));
}
