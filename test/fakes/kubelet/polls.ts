/** The loops with which a kubelet asks its runtime all day long: the load of a node where nothing happens. */
import { setTimeout as sleep } from "node:timers/promises";
import type { CriClient } from "./cri-client.ts";

export interface PollOptions {
  /** Milliseconds between two rounds; the defaults are the kubelet's. */
  readonly plegMs?: number;
  readonly containerStatusMs?: number;
  readonly statusMs?: number;
  readonly statsMs?: number;
  readonly imageFsMs?: number;
  /** Called with every failure; polling goes on, as the kubelet's does. */
  readonly onError?: (method: string, error: unknown) => void;
}

export interface Polls {
  /** Calls made so far, by method. */
  readonly calls: Readonly<Record<string, number>>;
  readonly errors: number;
  /** Ends the loops after the calls in flight. */
  stop(): Promise<void>;
}

const defaults = {
  plegMs: 1000,
  containerStatusMs: 10_000,
  statusMs: 5000,
  statsMs: 10_000,
  imageFsMs: 10_000,
};

/** Starts PLEG's list pair, the log rotation's ContainerStatus round, the node status, and the eviction manager. */
export function startPolls(cri: CriClient, options: PollOptions = {}): Polls {
  const periods = { ...defaults, ...options };
  const calls: Record<string, number> = {};
  const stopping = new AbortController();
  let errors = 0;
  const call = async (method: string, request: object = {}) => {
    calls[method] = (calls[method] ?? 0) + 1;
    try {
      return await cri.call(method, request);
    } catch (error) {
      errors += 1;
      options.onError?.(method, error);
      return undefined;
    }
  };
  const loop = async (periodMs: number, round: () => Promise<void>) => {
    while (!stopping.signal.aborted) {
      await round();
      await sleep(periodMs, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  };
  const running = { filter: { state: { state: "CONTAINER_RUNNING" } } };
  const loops = [
    loop(periods.plegMs, async () => {
      await call("ListPodSandbox");
      await call("ListContainers");
    }),
    loop(periods.containerStatusMs, async () => {
      const list = (await call("ListContainers", running)) as { containers?: { id: string }[] } | undefined;
      for (const { id } of list?.containers ?? []) await call("ContainerStatus", { container_id: id });
    }),
    loop(periods.statusMs, async () => void (await call("Status"))),
    loop(periods.statsMs, async () => void (await call("ListContainerStats"))),
    loop(periods.imageFsMs, async () => void (await call("ImageFsInfo"))),
  ];
  return {
    calls,
    get errors() {
      return errors;
    },
    async stop() {
      stopping.abort();
      await Promise.all(loops);
    },
  };
}

/** What a kubelet asks before it starts: a runtime that fails here keeps the kubelet from starting at all. */
export async function validateRuntime(cri: CriClient): Promise<void> {
  const { version, runtime_name, runtime_version } = await cri.call("Version");
  if (version !== "0.1.0" || runtime_name === "" || runtime_version === "") {
    throw new Error(
      `the runtime's version answer is not valid: ${version} ${runtime_name} ${runtime_version}`,
    );
  }
  await cri.call("ImageFsInfo");
  const { status } = await cri.call("Status");
  const missing = ["RuntimeReady", "NetworkReady"].filter(
    (type) => !status?.conditions.some((condition) => condition.type === type),
  );
  if (missing.length > 0) throw new Error(`the runtime's status lacks ${missing.join(" and ")}`);
}
