/** The container methods: create, start, stop, remove, status, lists, resources, logs. */
import { join } from "node:path";
import { publish, removeContainer, startContainer, stopContainer } from "./container-life.ts";
import { type ContainerFilter, matchesId, matchesLabels, matchesState } from "./filters.ts";
import { type Handlers, streamed, unary } from "./handlers.ts";
import { resolveImage } from "./images.ts";
import type { ContainerConfig, PodSandboxConfig } from "./messages.ts";
import type { Runtime } from "./runtime.ts";
import {
  type ContainerRecord,
  findContainer,
  findSandbox,
  newId,
  nowNs,
  requireContainer,
  reserveName,
} from "./state.ts";
import { notFound, unknown } from "./status.ts";
import { containerItem, containerStatus } from "./status-messages.ts";

interface ById {
  readonly container_id: string;
}

interface CreateRequest {
  readonly pod_sandbox_id: string;
  readonly config: ContainerConfig | null;
  readonly sandbox_config: PodSandboxConfig | null;
}

/** The containers that pass `filter`, in the order of their creation. */
export function listContainers(runtime: Runtime, filter: Partial<ContainerFilter> | null): ContainerRecord[] {
  return [...runtime.state.containers.values()].filter(
    (container) =>
      matchesId(container.id, filter?.id) &&
      matchesId(container.sandboxId, filter?.pod_sandbox_id) &&
      matchesState(container.state, filter?.state) &&
      matchesLabels(container.config, filter?.label_selector),
  );
}

export function createContainerMethods(runtime: Runtime): Partial<Handlers> {
  const { state } = runtime;
  const list = ({ filter }: { readonly filter: ContainerFilter | null }) =>
    listContainers(runtime, filter).map((container) => containerItem(state, container));
  return {
    unary: {
      CreateContainer: unary<CreateRequest>((request) => ({ container_id: create(runtime, request) })),
      StartContainer: unary<ById>(async ({ container_id }) => {
        const container = requireContainer(state, container_id);
        const sandbox = state.sandboxes.get(container.sandboxId);
        if (!sandbox) throw notFound(`sandbox "${container.sandboxId}"`);
        await startContainer(runtime, container, sandbox);
        return {};
      }),
      StopContainer: unary<ById & { readonly timeout: string }>(async ({ container_id, timeout }) => {
        await stopContainer(requireContainer(state, container_id), Number(timeout));
        return {};
      }),
      RemoveContainer: unary<ById>(async ({ container_id }) => {
        const container = findContainer(state, container_id);
        if (container) await removeContainer(runtime, container);
        return {};
      }),
      ContainerStatus: unary<ById & { readonly verbose: boolean }>(({ container_id, verbose }) => {
        const container = requireContainer(state, container_id);
        return {
          status: containerStatus(state, container),
          info: verbose ? { info: JSON.stringify({ config: container.config }) } : {},
        };
      }),
      ListContainers: unary<{ filter: ContainerFilter | null }>((request) => ({ containers: list(request) })),
      UpdateContainerResources: unary<ById & { readonly linux: object | null }>(({ container_id, linux }) => {
        const container = findContainer(state, container_id);
        if (!container) throw notFound("failed to find container");
        container.resources = linux ?? container.resources;
        return {};
      }),
      ReopenContainerLog: unary<ById>(({ container_id }) => {
        if (requireContainer(state, container_id).state !== "CONTAINER_RUNNING") {
          throw unknown("container is not running");
        }
        return {};
      }),
    },
    stream: { StreamContainers: streamed("containers", list) },
  };
}

function create(runtime: Runtime, request: CreateRequest): string {
  const { state } = runtime;
  const { config } = request;
  const sandbox = findSandbox(state, request.pod_sandbox_id);
  if (!sandbox) throw notFound(`failed to find sandbox id "${request.pod_sandbox_id}"`);
  if (sandbox.state !== "SANDBOX_READY") {
    throw notFound(
      `failed to get sandbox container task: no running task found: task ${sandbox.id} not found`,
    );
  }
  const pod = sandbox.config.metadata;
  if (!config?.metadata || !pod) throw unknown("container config must include metadata");
  const wanted = config.image?.image ?? "";
  const image = resolveImage(state, wanted);
  if (!image) throw notFound(`failed to resolve image "${wanted}"`);
  const id = newId();
  const name = [config.metadata.name, pod.name, pod.namespace, pod.uid, config.metadata.attempt].join("_");
  reserveName(state, "container", name, id);
  // containerd reads the sandbox's configuration from this request, not from the one that made the sandbox.
  const logDirectory = request.sandbox_config?.log_directory ?? "";
  state.containers.set(id, {
    id,
    name,
    sandboxId: sandbox.id,
    config,
    imageId: image.id,
    imageRef: image.repo_digests[0] ?? image.id,
    logPath: logDirectory && config.log_path ? join(logDirectory, config.log_path) : "",
    createdAtNs: nowNs(),
    state: "CONTAINER_CREATED",
    startedAtNs: 0n,
    finishedAtNs: 0n,
    exitCode: 0,
    reason: "",
    message: "",
    resources: config.linux?.resources ?? null,
    stop: undefined,
    kill: undefined,
    exited: undefined,
  });
  publish(runtime, "CONTAINER_CREATED_EVENT", id, sandbox);
  return id;
}
