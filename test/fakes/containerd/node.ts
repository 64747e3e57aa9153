/** The methods about the runtime as a whole, and the sessions into containers: version, status, exec, events. */
import { type CallContext, type Handlers, stream, unary } from "./handlers.ts";
import type { Runtime } from "./runtime.ts";
import { findContainer, newId, nowNs } from "./state.ts";
import { notFound, StatusError, status, unknown } from "./status.ts";

/** What Status answers; a test may change it while the server runs. */
export interface NodeConditions {
  runtimeReady: boolean;
  networkReady: boolean;
}

export interface NodeOptions {
  readonly runtimeVersion: string;
  readonly cgroupDriver: "SYSTEMD" | "CGROUPFS";
  readonly conditions: NodeConditions;
}

interface ExecRequest {
  readonly container_id: string;
  readonly cmd: readonly string[];
  /** Seconds; 0 is no limit. */
  readonly timeout: string;
}

const STREAMING_PORT = 10_010;

export function createNodeMethods(runtime: Runtime, options: NodeOptions): Partial<Handlers> {
  const session = (kind: string) => () => ({
    url: `http://127.0.0.1:${STREAMING_PORT}/${kind}/${newId().slice(0, 8)}`,
  });
  return {
    unary: {
      Version: unary(() => ({
        version: "0.1.0",
        runtime_name: "containerd",
        runtime_version: options.runtimeVersion,
        runtime_api_version: "v1",
      })),
      Status: unary<{ verbose: boolean }>(({ verbose }) => ({
        status: { conditions: conditions(options.conditions) },
        info: verbose ? { config: "{}" } : {},
        runtime_handlers: ["", "runc"].map((name) => ({
          name,
          features: { recursive_read_only_mounts: true, user_namespaces: true },
        })),
        features: { supplemental_groups_policy: true },
      })),
      RuntimeConfig: unary(() => ({ linux: { cgroup_driver: options.cgroupDriver } })),
      UpdateRuntimeConfig: unary(() => ({})),
      ExecSync: unary<ExecRequest>((request, context) => execSync(runtime, request, context)),
      Exec: unary(session("exec")),
      Attach: unary(session("attach")),
      PortForward: unary(session("portforward")),
      CheckpointContainer: unary(() => {
        throw new StatusError(status.UNIMPLEMENTED, "method CheckpointContainer not implemented");
      }),
    },
    stream: { GetContainerEvents: stream((_, context) => runtime.events.subscribe(context)) },
  };
}

function conditions({ runtimeReady, networkReady }: NodeConditions) {
  return [
    { type: "RuntimeReady", status: runtimeReady, reason: "", message: "" },
    networkReady
      ? { type: "NetworkReady", status: true, reason: "", message: "" }
      : {
          type: "NetworkReady",
          status: false,
          reason: "NetworkPluginNotReady",
          message: "Network plugin returns error: cni plugin not initialized",
        },
  ];
}

async function execSync(runtime: Runtime, request: ExecRequest, { signal }: CallContext) {
  const container = findContainer(runtime.state, request.container_id);
  if (!container) {
    const id = JSON.stringify(request.container_id);
    throw notFound(`failed to exec in container: failed to find container ${id} in store`);
  }
  if (container.state !== "CONTAINER_RUNNING") {
    throw unknown(`failed to exec in container: container is in ${container.state} state`);
  }
  const startedAt = nowNs();
  const timeoutMs = Number(request.timeout) * 1000;
  const limit = timeoutMs > 0 ? AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]) : signal;
  const late = new Promise<never>((_, reject) => {
    limit.addEventListener("abort", () => {
      const afterMs = (nowNs() - startedAt) / 1_000_000n;
      const text = `failed to exec in container: timeout ${request.timeout}s exceeded after ${afterMs}ms`;
      reject(new StatusError(status.DEADLINE_EXCEEDED, text));
    });
  });
  const work = runtime.exec(container, request.cmd, limit);
  const { stdout = "", stderr = "", exitCode = 0 } = await Promise.race([work, late]);
  return { stdout: Buffer.from(stdout), stderr: Buffer.from(stderr), exit_code: exitCode };
}
