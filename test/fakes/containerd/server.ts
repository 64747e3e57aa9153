/**
 * A containerd of CRI's size, in this process: RuntimeService and ImageService on a unix socket, with containerd's
 * rules and texts but without processes, namespaces or files other than logs. No test framework is imported, so
 * that the demo can use it as well.
 */
import { rm } from "node:fs/promises";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { servicesOf } from "./apis.ts";
import { stopContainer } from "./container-life.ts";
import { createContainerMethods } from "./containers.ts";
import { createEventHub, type EventHub } from "./events.ts";
import { createFaults, type Fault } from "./faults.ts";
import { type Handlers, mergeHandlers } from "./handlers.ts";
import { createImageMethods, makeImage } from "./images.ts";
import { createNodeMethods, type NodeConditions } from "./node.ts";
import { createRecorder, type RecordedCalls } from "./requests.ts";
import type { CniHook, ExecSync, Run, Runtime } from "./runtime.ts";
import { createSandboxMethods } from "./sandboxes.ts";
import { serveMethods } from "./serve.ts";
import { createState, type State } from "./state.ts";
import { createStatsMethods } from "./stats.ts";

/** containerd's own limit in both directions. */
const MAX_MESSAGE_BYTES = 16 << 20;
const DEFAULT_RECORD_LIMIT = 10_000;
/** How long a container's run may ignore that it was told to end. */
const STOP_SECONDS = 1;

/** What containerd 1.6 does not know yet: give it as `unimplemented` to look like one. */
export const unknownToContainerd16: readonly string[] = [
  "StreamPodSandboxes",
  "StreamContainers",
  "StreamContainerStats",
  "StreamPodSandboxStats",
  "StreamPodSandboxMetrics",
  "StreamImages",
  "RuntimeConfig",
  "UpdatePodSandboxResources",
  "CheckpointContainer",
  "GetContainerEvents",
  "ListMetricDescriptors",
  "ListPodSandboxMetrics",
];

export interface FakeContainerdOptions {
  /** Where to listen. What is there is replaced: a fake owns its directory. */
  readonly path: string;
  /** Called for each sandbox that is not on the host's network. Without it pods have no address. */
  readonly cni?: CniHook;
  /** Stands for a container's process. Default: exits with 0 at once. */
  readonly run?: Run;
  /** Stands for ExecSync's command. Default: succeeds silently. */
  readonly exec?: ExecSync;
  /** Images that are there from the start, by name. */
  readonly images?: readonly string[];
  /** Whether PullImage finds a (full) name. Default: always. */
  readonly registry?: (name: string) => boolean;
  /** Methods that are answered as an older containerd does. */
  readonly unimplemented?: readonly string[];
  readonly cgroupDriver?: "SYSTEMD" | "CGROUPFS";
  readonly runtimeVersion?: string;
  /** How many calls `requests` keeps at least. */
  readonly recordLimit?: number;
  /** The state of an earlier server: a containerd that was restarted. */
  readonly state?: State;
}

export interface FakeContainerd {
  readonly path: string;
  readonly requests: RecordedCalls;
  readonly state: State;
  readonly events: EventHub;
  /** What Status says; change it at will. */
  readonly conditions: NodeConditions;
  /** Delays or fails calls of a method (`*`: of all); gives the function that takes it back. */
  inject(method: string, fault: Fault): () => void;
  /** Ends calls and running containers, and removes the socket. A crash keeps the containers, as real shims do. */
  stop(options?: { readonly keepContainers?: boolean }): Promise<void>;
}

/** Listens and gives the server; rejects if the path cannot be bound. */
export async function startFakeContainerd(options: FakeContainerdOptions): Promise<FakeContainerd> {
  const { path, state = createState() } = options;
  for (const image of (options.images ?? []).map(makeImage)) state.images.set(image.id, image);
  const runtime: Runtime = {
    state,
    events: createEventHub(),
    cni: options.cni,
    run: options.run ?? (async () => ({ exitCode: 0 })),
    exec: options.exec ?? (async () => ({})),
  };
  const conditions: NodeConditions = { runtimeReady: true, networkReady: true };
  const requests = createRecorder(options.recordLimit ?? DEFAULT_RECORD_LIMIT);
  const faults = createFaults();
  const stopping = new AbortController();
  const server = createServer({
    handlers: createHandlers(runtime, options, conditions),
    unimplemented: options.unimplemented ?? [],
    requests,
    faults,
    stopping: stopping.signal,
  });
  await rm(path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    );
  });
  return {
    path,
    requests,
    state,
    events: runtime.events,
    conditions,
    inject: faults.inject,
    async stop({ keepContainers = false } = {}) {
      stopping.abort();
      server.forceShutdown();
      if (!keepContainers) {
        const containers = [...state.containers.values()];
        await Promise.all(containers.map((container) => stopContainer(container, STOP_SECONDS)));
      }
      await rm(path, { force: true });
    },
  };
}

function createHandlers(
  runtime: Runtime,
  options: FakeContainerdOptions,
  conditions: NodeConditions,
): Handlers {
  return mergeHandlers([
    createSandboxMethods(runtime),
    createContainerMethods(runtime),
    createStatsMethods(runtime),
    createImageMethods(runtime.state, {
      registry: options.registry ?? (() => true),
      mountpoint: "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs",
    }),
    createNodeMethods(runtime, {
      runtimeVersion: options.runtimeVersion ?? "1.6.20",
      cgroupDriver: options.cgroupDriver ?? "CGROUPFS",
      conditions,
    }),
  ]);
}

function createServer(serving: Omit<Parameters<typeof serveMethods>[1], "service">): Server {
  const server = new Server({
    "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
    "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
    "grpc.enable_channelz": 0,
  });
  for (const [name, { service }] of Object.entries(servicesOf("runtime"))) {
    serveMethods(server, { ...serving, service: { name, definition: service } });
  }
  return server;
}
