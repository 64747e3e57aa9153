/** Records as the messages that the status and list methods answer. Pure. */
import type { ContainerStatus, Message, PodSandboxStatus } from "./messages.ts";
import type { ContainerRecord, SandboxRecord, State } from "./state.ts";

/** A sandbox that is not ready has no address any more. */
export function sandboxStatus(sandbox: SandboxRecord): PodSandboxStatus & Message {
  const { config, state } = sandbox;
  const [ip = "", ...additional] = state === "SANDBOX_READY" ? sandbox.ips : [];
  const status = {
    id: sandbox.id,
    metadata: config.metadata,
    state,
    created_at: String(sandbox.createdAtNs),
    network: { ip, additional_ips: additional.map((address) => ({ ip: address })) },
    linux: { namespaces: { options: config.linux?.security_context?.namespace_options ?? null } },
    labels: config.labels,
    annotations: config.annotations,
    runtime_handler: sandbox.runtimeHandler,
  };
  return status;
}

export function sandboxItem(sandbox: SandboxRecord) {
  const { config } = sandbox;
  return {
    id: sandbox.id,
    metadata: config.metadata,
    state: sandbox.state,
    created_at: String(sandbox.createdAtNs),
    labels: config.labels,
    annotations: config.annotations,
    runtime_handler: sandbox.runtimeHandler,
  };
}

/** The image as the runtime names it: the first tag it has, not what the request said. */
function imageSpec(state: State, container: ContainerRecord) {
  const tag = state.images.get(container.imageId)?.repo_tags[0];
  return {
    image: tag ?? container.imageId,
    annotations: {},
    user_specified_image: container.config.image?.user_specified_image ?? "",
  };
}

export function containerStatus(state: State, container: ContainerRecord): ContainerStatus & Message {
  const { config } = container;
  const status = {
    id: container.id,
    metadata: config.metadata,
    state: container.state,
    created_at: String(container.createdAtNs),
    started_at: String(container.startedAtNs),
    finished_at: String(container.finishedAtNs),
    exit_code: container.exitCode,
    image: imageSpec(state, container),
    image_ref: container.imageRef,
    image_id: container.imageId,
    reason: container.reason,
    message: container.message,
    labels: config.labels,
    annotations: config.annotations,
    mounts: config.mounts,
    log_path: container.logPath,
    resources: container.resources ? { linux: container.resources } : null,
  };
  return status;
}

export function containerItem(state: State, container: ContainerRecord) {
  const { config } = container;
  return {
    id: container.id,
    pod_sandbox_id: container.sandboxId,
    metadata: config.metadata,
    image: imageSpec(state, container),
    image_ref: container.imageRef,
    image_id: container.imageId,
    state: container.state,
    created_at: String(container.createdAtNs),
    labels: config.labels,
    annotations: config.annotations,
  };
}
