/**
 * The kubelet's plugin watcher and CSI registration: it watches `plugins_registry`, asks each new socket who it is,
 * asks the driver behind it for its node, tells the plugin the outcome, and forgets a plugin whose socket goes.
 */
import { type FSWatcher, watch } from "node:fs";
import { lstat, mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { serviceOf } from "../containerd/apis.ts";
import { type CsiResponses, createCsiClient } from "./csi-client.ts";
import { connectGrpc } from "./grpc-client.ts";

/** The kubelet's limits: for dialling and NotifyRegistrationStatus together, and for GetInfo. */
const DIAL_TIMEOUT_MS = 10_000;
const INFO_TIMEOUT_MS = 1000;
const REGISTRY_MODE = 0o750;
/** The kubelet's reconciler looks once a second; a test has no reason to wait that long. */
const RECONCILE_MS = 50;
const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 122_000;

export interface PluginInfo {
  readonly type: string;
  readonly name: string;
  readonly endpoint: string;
  readonly supported_versions: readonly string[];
}

export interface RegisteredPlugin {
  readonly socketPath: string;
  readonly info: PluginInfo;
  readonly node: CsiResponses["NodeGetInfo"];
}

export interface PluginWatcherOptions {
  /** The directory to watch, `<kubelet>/plugins_registry`; made if it is missing. */
  readonly directory: string;
  readonly onChange?: () => void;
}

export interface PluginWatcher {
  /** By driver name. */
  readonly plugins: ReadonlyMap<string, RegisteredPlugin>;
  /** Socket path -> what went wrong the last time. */
  readonly failures: ReadonlyMap<string, string>;
  /** Resolves once a driver of this name is registered (or gone again); rejects after `timeoutMs`. */
  waitFor(name: string, state?: "registered" | "gone", timeoutMs?: number): Promise<void>;
  stop(): Promise<void>;
}

interface Seen {
  /** Of the socket's inode: a socket that was made anew is registered anew. */
  readonly inode: number;
  registered: string | undefined;
  retryAtMs: number;
  backOffMs: number;
}

export async function watchPlugins({ directory, onChange }: PluginWatcherOptions): Promise<PluginWatcher> {
  await mkdir(directory, { recursive: true, mode: REGISTRY_MODE });
  const plugins = new Map<string, RegisteredPlugin>();
  const failures = new Map<string, string>();
  const seen = new Map<string, Seen>();
  const stopping = new AbortController();
  let wake: () => void = () => undefined;
  const watcher: FSWatcher = watch(directory, () => wake());
  const reconcile = async () => {
    const present = await listSockets(directory);
    for (const [path, entry] of seen) {
      if (present.get(path) === entry.inode) continue;
      seen.delete(path);
      failures.delete(path);
      if (entry.registered !== undefined) plugins.delete(entry.registered);
      onChange?.();
    }
    for (const [path, inode] of present) {
      const entry = seen.get(path) ?? {
        inode,
        registered: undefined,
        retryAtMs: 0,
        backOffMs: FIRST_RETRY_MS,
      };
      seen.set(path, entry);
      if (entry.registered !== undefined || Date.now() < entry.retryAtMs) continue;
      await tryRegister(path, entry, { plugins, failures });
      onChange?.();
    }
  };
  const loop = (async () => {
    while (!stopping.signal.aborted) {
      await reconcile();
      const changed = new Promise<void>((resolve) => {
        wake = resolve;
      });
      await Promise.race([changed, sleep(RECONCILE_MS)]);
    }
  })();
  return {
    plugins,
    failures,
    async waitFor(name, state = "registered", timeoutMs = DIAL_TIMEOUT_MS) {
      const until = Date.now() + timeoutMs;
      while (plugins.has(name) !== (state === "registered")) {
        if (Date.now() > until) {
          const why = [...failures].map(([path, text]) => `${path}: ${text}`).join("; ");
          throw new Error(
            `plugin ${name} is not ${state} after ${timeoutMs} ms; ${why || "no socket failed"}`,
          );
        }
        await sleep(5);
      }
    },
    async stop() {
      stopping.abort();
      watcher.close();
      wake();
      await loop;
    },
  };
}

/** The sockets in the directory, by path with their inodes. Names that begin with a dot are ignored. */
async function listSockets(directory: string): Promise<Map<string, number>> {
  const sockets = new Map<string, number>();
  for (const name of await readdir(directory)) {
    if (name.startsWith(".")) continue;
    const path = join(directory, name);
    const found = await lstat(path).catch(() => undefined);
    if (found?.isSocket()) sockets.set(path, found.ino);
  }
  return sockets;
}

async function tryRegister(
  path: string,
  entry: Seen,
  { plugins, failures }: { plugins: Map<string, RegisteredPlugin>; failures: Map<string, string> },
): Promise<void> {
  try {
    const plugin = await register(path);
    plugins.set(plugin.info.name, plugin);
    entry.registered = plugin.info.name;
    failures.delete(path);
  } catch (error) {
    failures.set(path, error instanceof Error ? error.message : String(error));
    entry.retryAtMs = Date.now() + entry.backOffMs;
    entry.backOffMs = Math.min(entry.backOffMs * 2, MAX_RETRY_MS);
  }
}

/** One registration from the dial to the notification. The plugin is told of a failure too. */
async function register(path: string): Promise<RegisteredPlugin> {
  // This dial sets no authority: grpc-go then sends the path, percent-encoded since the kubelet's 1.29.
  const client = connectGrpc([serviceOf("pluginregistration", "Registration")], {
    path,
    authority: "encoded-path",
  });
  try {
    const info = await client.unary<PluginInfo>("GetInfo", {}, { timeoutMs: INFO_TIMEOUT_MS });
    const notify = (plugin_registered: boolean, error: string) =>
      client.unary("NotifyRegistrationStatus", { plugin_registered, error }, { timeoutMs: DIAL_TIMEOUT_MS });
    try {
      validate(info);
      const node = await createCsiClient(info.endpoint).call("NodeGetInfo");
      if (node.node_id === "") throw new Error("NodeGetInfo answered an empty node id");
      await notify(true, "");
      return { socketPath: path, info, node };
    } catch (error) {
      await notify(false, (error as Error).message).catch(() => undefined);
      throw error;
    }
  } finally {
    client.close();
  }
}

function validate({ type, name, endpoint, supported_versions }: PluginInfo): void {
  if (type !== "CSIPlugin") throw new Error(`plugin type ${JSON.stringify(type)} is not CSIPlugin`);
  if (name === "") throw new Error("the plugin's name is empty");
  if (!endpoint.startsWith("/")) throw new Error(`endpoint ${JSON.stringify(endpoint)} is not a path`);
  const spoken = supported_versions.some((version) => /^v?[01]\.\d+\.\d+/.test(version));
  if (!spoken) throw new Error(`none of the versions ${JSON.stringify(supported_versions)} is supported`);
}
