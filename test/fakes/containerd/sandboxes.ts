/** The sandbox methods. The network is set up by the CNI hook, before the sandbox is ready and after it stopped. */
import { cniSandbox, publish, removeContainer, stopContainer } from "./container-life.ts";
import { matchesId, matchesLabels, matchesState, type SandboxFilter } from "./filters.ts";
import { type Handlers, streamed, unary } from "./handlers.ts";
import type { PodSandboxConfig } from "./messages.ts";
import type { Runtime } from "./runtime.ts";
import { findSandbox, newId, nowNs, reserveName, type SandboxRecord } from "./state.ts";
import { notFound, unknown } from "./status.ts";
import { containerStatus, sandboxItem, sandboxStatus } from "./status-messages.ts";

interface ById {
  readonly pod_sandbox_id: string;
}

interface RunRequest {
  readonly config: PodSandboxConfig | null;
  readonly runtime_handler: string;
}

export function createSandboxMethods(runtime: Runtime): Partial<Handlers> {
  const { state } = runtime;
  const list = ({ filter }: { readonly filter: SandboxFilter | null }) =>
    [...state.sandboxes.values()]
      .filter(
        (sandbox) =>
          matchesId(sandbox.id, filter?.id) &&
          matchesState(sandbox.state, filter?.state) &&
          matchesLabels(sandbox.config, filter?.label_selector),
      )
      .map(sandboxItem);
  return {
    unary: {
      RunPodSandbox: unary<RunRequest>(async (request) => ({
        pod_sandbox_id: await runSandbox(runtime, request),
      })),
      StopPodSandbox: unary<ById>(async ({ pod_sandbox_id }) => {
        const sandbox = findSandbox(state, pod_sandbox_id);
        if (!sandbox) {
          throw notFound(`an error occurred when try to find sandbox ${JSON.stringify(pod_sandbox_id)}`);
        }
        await stopSandbox(runtime, sandbox);
        return {};
      }),
      RemovePodSandbox: unary<ById>(async ({ pod_sandbox_id }) => {
        const sandbox = findSandbox(state, pod_sandbox_id);
        if (sandbox) await removeSandbox(runtime, sandbox);
        return {};
      }),
      PodSandboxStatus: unary<ById & { readonly verbose: boolean }>(({ pod_sandbox_id, verbose }) => {
        const sandbox = findSandbox(state, pod_sandbox_id);
        if (!sandbox) throw notFound("an error occurred when try to find sandbox");
        return {
          status: sandboxStatus(sandbox),
          info: verbose ? { info: JSON.stringify({ config: sandbox.config }) } : {},
          containers_statuses: [...state.containers.values()]
            .filter(({ sandboxId }) => sandboxId === sandbox.id)
            .map((container) => containerStatus(state, container)),
          timestamp: String(nowNs()),
        };
      }),
      ListPodSandbox: unary<{ filter: SandboxFilter | null }>((request) => ({ items: list(request) })),
      UpdatePodSandboxResources: unary<ById>(({ pod_sandbox_id }) => {
        if (!findSandbox(state, pod_sandbox_id)) throw notFound("failed to find sandbox");
        return {};
      }),
    },
    stream: { StreamPodSandboxes: streamed("pod_sandboxes", list) },
  };
}

async function runSandbox(runtime: Runtime, { config, runtime_handler }: RunRequest): Promise<string> {
  const metadata = config?.metadata;
  if (!config || !metadata) throw unknown("sandbox config must include metadata");
  const id = newId();
  const name = [metadata.name, metadata.namespace, metadata.uid, metadata.attempt].join("_");
  reserveName(runtime.state, "sandbox", name, id);
  const onHost = config.linux?.security_context?.namespace_options?.network === "NODE";
  const sandbox: SandboxRecord = {
    id,
    name,
    config,
    runtimeHandler: runtime_handler,
    createdAtNs: nowNs(),
    netnsPath: onHost ? "" : `/var/run/netns/cni-${id.slice(0, 8)}-${id.slice(8, 12)}`,
    state: "SANDBOX_READY",
    ips: [],
    attached: false,
  };
  try {
    if (!onHost) await attach(runtime, sandbox);
  } catch (error) {
    runtime.state.names.delete(name);
    throw error;
  }
  runtime.state.sandboxes.set(id, sandbox);
  publish(runtime, "CONTAINER_CREATED_EVENT", id, sandbox);
  publish(runtime, "CONTAINER_STARTED_EVENT", id, sandbox);
  return id;
}

/** ADD, and DEL at once if it failed: a failed ADD may have left something behind. */
async function attach(runtime: Runtime, sandbox: SandboxRecord): Promise<void> {
  if (!runtime.cni) return;
  try {
    sandbox.ips = (await runtime.cni.add(cniSandbox(sandbox))).ips;
    sandbox.attached = true;
  } catch (error) {
    await runtime.cni.del(cniSandbox(sandbox)).catch(() => undefined);
    throw unknown(`failed to setup network for sandbox "${sandbox.id}": ${(error as Error).message}`);
  }
}

async function stopSandbox(runtime: Runtime, sandbox: SandboxRecord): Promise<void> {
  for (const container of runtime.state.containers.values()) {
    if (container.sandboxId === sandbox.id) await stopContainer(container, 0);
  }
  if (sandbox.state === "SANDBOX_READY") {
    sandbox.state = "SANDBOX_NOTREADY";
    publish(runtime, "CONTAINER_STOPPED_EVENT", sandbox.id, sandbox);
  }
  if (!sandbox.attached) return;
  try {
    await runtime.cni?.del(cniSandbox(sandbox));
    sandbox.attached = false;
  } catch (error) {
    // The sandbox stays stopped and attached: the kubelet asks again until DEL succeeds.
    throw unknown(`failed to destroy network for sandbox "${sandbox.id}": ${(error as Error).message}`);
  }
}

async function removeSandbox(runtime: Runtime, sandbox: SandboxRecord): Promise<void> {
  await stopSandbox(runtime, sandbox);
  for (const container of [...runtime.state.containers.values()]) {
    if (container.sandboxId === sandbox.id) await removeContainer(runtime, container);
  }
  if (!runtime.state.sandboxes.delete(sandbox.id)) return;
  runtime.state.names.delete(sandbox.name);
  publish(runtime, "CONTAINER_DELETED_EVENT", sandbox.id, sandbox);
}
