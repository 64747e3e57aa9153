/** Statistics and metrics: plausible numbers that grow with a container's age, in the shapes that consumers read. */
import { listContainers } from "./containers.ts";
import { type ContainerFilter, matchesId, matchesLabels } from "./filters.ts";
import { type Handlers, streamed, unary } from "./handlers.ts";
import type { Runtime } from "./runtime.ts";
import { type ContainerRecord, findContainer, findSandbox, nowNs, type SandboxRecord } from "./state.ts";
import { notFound } from "./status.ts";

type StatsFilter = Partial<ContainerFilter> | null;

const MEMORY_BYTES = 4 << 20;
/** The share of one core that every running container seems to use. */
const CPU_DIVISOR = 100n;

const value = (number: bigint | number) => ({ value: String(number) });

function cpuAndMemory(sinceNs: bigint) {
  const timestamp = String(nowNs());
  return {
    cpu: { timestamp, usage_core_nano_seconds: value((nowNs() - sinceNs) / CPU_DIVISOR) },
    memory: { timestamp, working_set_bytes: value(MEMORY_BYTES), usage_bytes: value(MEMORY_BYTES) },
  };
}

function containerStats({ id, config, startedAtNs }: ContainerRecord) {
  return {
    attributes: { id, metadata: config.metadata, labels: config.labels, annotations: config.annotations },
    ...cpuAndMemory(startedAtNs),
    writable_layer: {
      timestamp: String(nowNs()),
      fs_id: { mountpoint: "/" },
      used_bytes: value(0),
      inodes_used: value(0),
    },
  };
}

function sandboxStats(runtime: Runtime, { id, config, createdAtNs }: SandboxRecord) {
  const containers = running(runtime, { pod_sandbox_id: id });
  return {
    attributes: { id, metadata: config.metadata, labels: config.labels, annotations: config.annotations },
    linux: { ...cpuAndMemory(createdAtNs), containers: containers.map(containerStats) },
  };
}

function running(runtime: Runtime, filter: StatsFilter): ContainerRecord[] {
  return listContainers(runtime, { ...filter, state: { state: "CONTAINER_RUNNING" } });
}

export function createStatsMethods(runtime: Runtime): Partial<Handlers> {
  const { state } = runtime;
  const containers = ({ filter }: { readonly filter: StatsFilter }) =>
    running(runtime, filter).map(containerStats);
  const sandboxes = ({ filter }: { readonly filter: StatsFilter }) =>
    [...state.sandboxes.values()]
      .filter(({ id, config }) => matchesId(id, filter?.id) && matchesLabels(config, filter?.label_selector))
      .map((sandbox) => sandboxStats(runtime, sandbox));
  const metrics = () =>
    [...state.sandboxes.values()].map(({ id }) => ({
      pod_sandbox_id: id,
      metrics: [
        { name: "container_last_seen", timestamp: String(nowNs()), metric_type: "GAUGE", value: value(1) },
      ],
    }));
  return {
    unary: {
      ContainerStats: unary<{ container_id: string }>(({ container_id }) => {
        const container = findContainer(state, container_id);
        if (!container) throw notFound("failed to find container");
        return { stats: containerStats(container) };
      }),
      ListContainerStats: unary<{ filter: StatsFilter }>((request) => ({ stats: containers(request) })),
      PodSandboxStats: unary<{ pod_sandbox_id: string }>(({ pod_sandbox_id }) => {
        const sandbox = findSandbox(state, pod_sandbox_id);
        if (!sandbox) throw notFound("an error occurred when trying to find sandbox");
        return { stats: sandboxStats(runtime, sandbox) };
      }),
      ListPodSandboxStats: unary<{ filter: StatsFilter }>((request) => ({ stats: sandboxes(request) })),
      ListMetricDescriptors: unary(() => ({
        descriptors: [
          { name: "container_last_seen", help: "Last time a container was seen.", label_keys: [] },
        ],
      })),
      ListPodSandboxMetrics: unary(() => ({ pod_metrics: metrics() })),
    },
    stream: {
      StreamContainerStats: streamed("container_stats", containers),
      StreamPodSandboxStats: streamed("pod_sandbox_stats", sandboxes),
      StreamPodSandboxMetrics: streamed("pod_sandbox_metrics", metrics),
    },
  };
}
