/**
 * The life of a container from create to remove, without the wire: created -> running -> exited. Stopping and
 * removing are shared by the container's own methods and by those of its sandbox.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { EventType } from "./events.ts";
import { type ContainerLog, openContainerLog } from "./log-file.ts";
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
  let log: ContainerLog;
  try {
    log = await openContainerLog(container.logPath);
  } catch (error) {
    const message = `failed to create container loggers: failed to open container log: ${(error as Error).message}`;
    finish(container, { exitCode: START_ERROR_EXIT_CODE, reason: "StartError", message });
    throw unknown(`failed to start container "${container.id}": ${message}`);
  }
  const stop = new AbortController();
  const killed = new Promise<RunResult>((resolve) => {
    container.kill = () => resolve({ exitCode: SIGKILL_EXIT_CODE });
  });
  container.stop = stop;
  container.exited = runToExit({ runtime, container, sandbox, log, killed }).then(() =>
    publish(runtime, "CONTAINER_STOPPED_EVENT", container.id, sandbox),
  );
  publish(runtime, "CONTAINER_STARTED_EVENT", container.id, sandbox);
}

interface Running {
  readonly runtime: Runtime;
  readonly container: ContainerRecord;
  readonly sandbox: SandboxRecord;
  readonly log: ContainerLog;
  readonly killed: Promise<RunResult>;
}

async function runToExit({ runtime, container, sandbox, log, killed }: Running): Promise<void> {
  let result: RunResult;
  let message = "";
  try {
    const running = runtime.run({
      id: container.id,
      config: container.config,
      sandbox: { ...cniSandbox(sandbox), ips: sandbox.ips },
      env: Object.fromEntries(container.config.envs.map(({ key, value }) => [key, value.toString()])),
      signal: container.stop?.signal ?? AbortSignal.abort(),
      write: log.write,
    });
    result = await Promise.race([killed, running]);
    if (result.output !== undefined) await log.write(result.output);
  } catch (error) {
    result = { exitCode: SIGKILL_EXIT_CODE };
    message = error instanceof Error ? error.message : String(error);
  }
  await log.close();
  finish(container, { exitCode: result.exitCode, message });
}

function finish(
  container: ContainerRecord,
  { exitCode, message = "", reason }: { exitCode: number; message?: string; reason?: string },
): void {
  container.state = "CONTAINER_EXITED";
  container.finishedAtNs = nowNs();
  container.exitCode = exitCode;
  container.reason = reason ?? (exitCode === 0 ? "Completed" : "Error");
  container.message = message;
}

/** Asks a running container to end, and kills it after `timeoutSeconds`. Nothing to do for any other state. */
export async function stopContainer(container: ContainerRecord, timeoutSeconds: number): Promise<void> {
  if (container.state !== "CONTAINER_RUNNING") return;
  const { exited } = container;
  if (timeoutSeconds > 0) {
    container.stop?.abort();
    const ended = new AbortController();
    const expired = sleep(timeoutSeconds * 1000, undefined, { signal: ended.signal }).catch(() => undefined);
    await Promise.race([exited, expired]);
    ended.abort();
  }
  container.kill?.();
  container.stop?.abort();
  await exited;
}

/** Removes a container with its name, ending it first if need be. */
export async function removeContainer(runtime: Runtime, container: ContainerRecord): Promise<void> {
  await stopContainer(container, 0);
  const { state } = runtime;
  if (!state.containers.delete(container.id)) return;
  state.names.delete(container.name);
  const sandbox = state.sandboxes.get(container.sandboxId);
  if (sandbox) publish(runtime, "CONTAINER_DELETED_EVENT", container.id, sandbox);
}
