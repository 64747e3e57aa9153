/**
 * The life of a container from create to remove, without the wire: created -> running -> exited. Stopping and
 * removing are shared by the container's own methods and by those of its sandbox.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { EventType } from "./events.ts";
import { openContainerLog } from "./log-file.ts";
import type { CniSandbox, RunResult, Runtime } from "./runtime.ts";
import { type ContainerRecord, nowNs, type SandboxRecord } from "./state.ts";
import { unknown } from "./status.ts";
import { containerStatus, sandboxStatus } from "./status-messages.ts";

const SIGKILL_EXIT_CODE = 128 + 9;
/** What containerd reports for a process that could not even be started. */
const START_ERROR_EXIT_CODE = 128;

export function cniSandbox({ id, netnsPath, config }: SandboxRecord): CniSandbox {
  return { id, netnsPath, config };
}

/** Tells the subscribers what happened to `id`, a container or its sandbox. */
export function publish(runtime: Runtime, type: EventType, id: string, sandbox: SandboxRecord): void {
  const containers = [...runtime.state.containers.values()].filter(
    (container) => container.sandboxId === sandbox.id,
  );
  runtime.events.publish({
    container_id: id,
    container_event_type: type,
    created_at: String(nowNs()),
    pod_sandbox_status: sandboxStatus(sandbox),
    containers_statuses: containers.map((container) => containerStatus(runtime.state, container)),
  });
}

/** Starts `container`, which must be created, in `sandbox`, which must be ready. */
export async function startContainer(
  runtime: Runtime,
  container: ContainerRecord,
  sandbox: SandboxRecord,
): Promise<void> {
  if (container.state !== "CONTAINER_CREATED") {
    throw unknown(
      `failed to set starting state for container "${container.id}": container is in ${container.state} state`,
    );
  }
  if (sandbox.state !== "SANDBOX_READY") throw unknown(`sandbox container "${sandbox.id}" is not running`);
  container.state = "CONTAINER_RUNNING";
  container.startedAtNs = nowNs();
  let log: Awaited<ReturnType<typeof openContainerLog>>;
  try {
    log = await openContainerLog(container.logPath);
  } catch (error) {
    const message = `failed to create container loggers: failed to open container log: ${(error as Error).message}`;
    finish(container, { exitCode: START_ERROR_EXIT_CODE, reason: "StartError", message });
    throw unknown(`failed to start container "${container.id}": ${message}`);
  }
  const stop = new AbortController();
  container.stop = stop;
  container.exited = runToExit(runtime, container, sandbox, log).then(() =>
    publish(runtime, "CONTAINER_STOPPED_EVENT", container.id, sandbox),
  );
  publish(runtime, "CONTAINER_STARTED_EVENT", container.id, sandbox);
}

async function runToExit(
  runtime: Runtime,
  container: ContainerRecord,
  sandbox: SandboxRecord,
  log: Awaited<ReturnType<typeof openContainerLog>>,
): Promise<void> {
  let result: RunResult;
  let message = "";
  try {
    result = await runtime.run({
      id: container.id,
      config: container.config,
      sandbox: { ...cniSandbox(sandbox), ips: sandbox.ips },
      env: Object.fromEntries(container.config.envs.map(({ key, value }) => [key, value.toString()])),
      signal: container.stop?.signal ?? AbortSignal.abort(),
      write: log.write,
    });
    if (result.output !== undefined) await log.write(result.output);
  } catch (error) {
    result = { exitCode: SIGKILL_EXIT_CODE };
    message = error instanceof Error ? error.message : String(error);
  }
  await log.close();
  finish(container, { exitCode: result.exitCode, message });
}

/** Marks the end once: a container that was killed stays killed, whatever its run says later. */
function finish(
  container: ContainerRecord,
  { exitCode, message = "", reason }: { exitCode: number; message?: string; reason?: string },
): void {
  if (container.state === "CONTAINER_EXITED") return;
  container.state = "CONTAINER_EXITED";
  container.finishedAtNs = nowNs();
  container.exitCode = exitCode;
  container.reason = reason ?? (exitCode === 0 ? "Completed" : "Error");
  container.message = message;
}

/** Asks a running container to end, and kills it after `timeoutSeconds`. Nothing to do for any other state. */
export async function stopContainer(
  runtime: Runtime,
  container: ContainerRecord,
  timeoutSeconds: number,
): Promise<void> {
  if (container.state !== "CONTAINER_RUNNING") return;
  container.stop?.abort();
  const grace = new AbortController();
  const expired = sleep(timeoutSeconds * 1000, "expired", { signal: grace.signal }).catch(() => "ended");
  const outcome = await Promise.race([container.exited?.then(() => "ended"), expired]);
  grace.abort();
  if (outcome === "ended") return;
  const sandbox = runtime.state.sandboxes.get(container.sandboxId);
  finish(container, { exitCode: SIGKILL_EXIT_CODE });
  if (sandbox) publish(runtime, "CONTAINER_STOPPED_EVENT", container.id, sandbox);
}

/** Removes a container with its name, ending it first if need be. */
export async function removeContainer(runtime: Runtime, container: ContainerRecord): Promise<void> {
  await stopContainer(runtime, container, 0);
  const { state } = runtime;
  if (!state.containers.delete(container.id)) return;
  state.names.delete(container.name);
  const sandbox = state.sandboxes.get(container.sandboxId);
  if (sandbox) publish(runtime, "CONTAINER_DELETED_EVENT", container.id, sandbox);
}
