/**
 * The pod of the DaemonSet as the kubelet would make it of `daemonset/base/node.yaml`, in a real containerd: privileged, on the
 * node's network, with its mounts and their propagation. What it mounts of the node lies below a scratch directory instead.
 */
import { randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import type { CriClient } from "../../fakes/kubelet/cri-client.ts";

const base = fileURLToPath(new URL("../../../daemonset/base", import.meta.url));
const kubeletPlaceholder = "KUBELET_ROOT";
const POLL_MS = 20;
const END_MS = 30_000;

interface VolumeMount {
  readonly name: string;
  readonly mountPath: string;
  readonly readOnly?: boolean;
  readonly mountPropagation?: "Bidirectional" | "HostToContainer";
}

interface Volume {
  readonly name: string;
  readonly hostPath?: { readonly path: string };
  readonly configMap?: { readonly name: string };
  readonly emptyDir?: object;
}

interface Container {
  readonly args: readonly string[];
  readonly securityContext: { readonly privileged?: boolean; readonly readOnlyRootFilesystem?: boolean };
  readonly volumeMounts: readonly VolumeMount[];
}

interface PodTemplate {
  readonly hostNetwork?: boolean;
  readonly hostPID?: boolean;
  readonly initContainers?: readonly Pick<Container, "args">[];
  readonly containers: readonly [Container, ...Container[]];
  readonly volumes: readonly Volume[];
}

function readTemplate(): PodTemplate {
  const text = readFileSync(join(base, "node.yaml"), "utf8");
  return (parse(text) as { spec: { template: { spec: PodTemplate } } }).spec.template.spec;
}

function readConfiguration(): Readonly<Record<string, string>> {
  return (parse(readFileSync(join(base, "config.yaml"), "utf8")) as { data: Record<string, string> }).data;
}

/** A container that has ended. */
export interface EndedContainer {
  readonly exitCode: number;
  /** Both of its streams. */
  readonly output: string;
}

/** A container that runs. */
export interface StartedContainer {
  readonly id: string;
  output(): string;
  /** Runs a program in it. */
  exec(...cmd: string[]): Promise<EndedContainer>;
  /** SIGTERM and, in the end, SIGKILL; gives its exit code. */
  stop(): Promise<number>;
}

export interface DaemonSetPodOptions {
  readonly cri: CriClient;
  readonly image: string;
  /** Stands for the node's file system: what the manifest mounts of the node is below it. It must be a shared mount. */
  readonly node: string;
  /** Where its logs and the volumes that are nobody's lie; `node` unless given. */
  readonly own?: string;
  /** Directories that are mounted at their own path too, as the node would have them, with what is mounted in them later. */
  readonly alike: readonly string[];
}

export interface DaemonSetPod {
  /** The manifest's own arguments, those of a node being filled in. */
  readonly args: readonly string[];
  /** Those of the init containers, in their order. */
  readonly initArgs: readonly (readonly string[])[];
  /** `<node>/var/lib/kubelet`, at the same path inside. */
  readonly kubeletRoot: string;
  /** Starts a container with these arguments to the image's entry point. */
  start(args: readonly string[]): Promise<StartedContainer>;
  /** Starts one and waits for its end. `command` in place of the entry point. */
  run(args: readonly string[], command?: readonly string[]): Promise<EndedContainer>;
  stop(): Promise<void>;
}

/** Makes the sandbox; containers come with `start` and `run`. */
export async function startDaemonSetPod(options: DaemonSetPodOptions): Promise<DaemonSetPod> {
  const { cri, image, node, own = node } = options;
  const template = readTemplate();
  const [container] = template.containers;
  const kubeletRoot = join(node, "var/lib/kubelet");
  const mounts = [...mountsOf(template, container, { node, own, kubeletRoot }), ...options.alike.map(alike)];
  const logs = join(own, "logs");
  mkdirSync(logs, { recursive: true });
  const namespace_options = {
    network: template.hostNetwork ? "NODE" : "POD",
    pid: template.hostPID ? "NODE" : "CONTAINER",
    ipc: "POD",
  };
  const { privileged = false, readOnlyRootFilesystem: readonly_rootfs = false } = container.securityContext;
  const sandbox_config = {
    metadata: { name: "trivet-node", uid: randomUUID(), namespace: "trivet-system", attempt: 0 },
    log_directory: logs,
    linux: { security_context: { namespace_options, privileged } },
  };
  const { pod_sandbox_id } = await cri.call("RunPodSandbox", { config: sandbox_config });
  let count = 0;

  const create = async (args: readonly string[], command: readonly string[]) => {
    const name = `trivet-${count++}`;
    const config = {
      ...{ metadata: { name, attempt: 0 }, image: { image }, command, args, mounts },
      log_path: `${name}.log`,
      linux: { resources: {}, security_context: { privileged, readonly_rootfs, namespace_options } },
    };
    const { container_id } = await cri.call("CreateContainer", { pod_sandbox_id, config, sandbox_config });
    await cri.call("StartContainer", { container_id });
    return { container_id, output: () => readOutput(join(logs, `${name}.log`)) };
  };

  return {
    args: container.args.map((arg) => arg.replace("$(KUBELET_ROOT)", kubeletRoot)),
    initArgs: (template.initContainers ?? []).map(({ args }) => args),
    kubeletRoot,
    async start(args) {
      const { container_id, output } = await create(args, []);
      return {
        ...{ id: container_id, output },
        async exec(...cmd) {
          const answer = await cri.call("ExecSync", { container_id, cmd, timeout: "30" });
          return { exitCode: answer.exit_code, output: `${answer.stdout}${answer.stderr}` };
        },
        async stop() {
          await cri.call("StopContainer", { container_id, timeout: "30" });
          return (await endOf(cri, container_id)).exit_code;
        },
      };
    },
    async run(args, command = []) {
      const { container_id, output } = await create(args, command);
      const { exit_code: exitCode } = await endOf(cri, container_id);
      const ended = { exitCode, output: output() };
      await cri.call("RemoveContainer", { container_id });
      return ended;
    },
    async stop() {
      await cri.call("StopPodSandbox", { pod_sandbox_id });
      await cri.call("RemovePodSandbox", { pod_sandbox_id });
    },
  };
}

/** The kubelet's part: directories of the node, the ConfigMap as files, an empty directory. */
function mountsOf(
  { volumes }: PodTemplate,
  { volumeMounts }: Container,
  { node, own, kubeletRoot }: { readonly node: string; readonly own: string; readonly kubeletRoot: string },
) {
  return volumeMounts.map(({ name, mountPath, readOnly = false, mountPropagation }) => {
    const volume = volumes.find((candidate) => candidate.name === name);
    if (!volume) throw new Error(`the manifest mounts a volume ${name} that it lacks`);
    return {
      container_path: mountPath.replace(kubeletPlaceholder, kubeletRoot),
      host_path: hostPathOf(volume, { node, own }),
      readonly: readOnly,
      propagation: propagationOf(mountPropagation),
    };
  });
}

function propagationOf(propagation: VolumeMount["mountPropagation"]): string {
  if (propagation === "Bidirectional") return "PROPAGATION_BIDIRECTIONAL";
  return propagation === "HostToContainer" ? "PROPAGATION_HOST_TO_CONTAINER" : "PROPAGATION_PRIVATE";
}

function hostPathOf(
  { name, hostPath, configMap, emptyDir }: Volume,
  { node, own }: { readonly node: string; readonly own: string },
): string {
  // The kernel's devices are the machine's own.
  if (hostPath?.path === "/dev" || hostPath?.path === "/sys") return hostPath.path;
  const path = hostPath
    ? join(node, hostPath.path.replace(kubeletPlaceholder, "/var/lib/kubelet"))
    : join(own, "volumes", name);
  mkdirSync(path, { recursive: true });
  if (configMap) {
    for (const [file, text] of Object.entries(readConfiguration())) writeFileSync(join(path, file), text);
  } else if (!hostPath && !emptyDir) throw new Error(`this test cannot make the volume ${name}`);
  return path;
}

const alike = (path: string) => ({
  ...{ container_path: path, host_path: path, readonly: false },
  propagation: "PROPAGATION_HOST_TO_CONTAINER",
});

async function endOf(cri: CriClient, container_id: string) {
  for (const until = Date.now() + END_MS; Date.now() < until; await sleep(POLL_MS)) {
    const { status } = await cri.call("ContainerStatus", { container_id });
    if (status.state === "CONTAINER_EXITED") return status;
  }
  throw new Error(`container ${container_id} still runs after ${END_MS} ms`);
}

/** What a container has written: a time, a stream and a tag come before each line. */
function readOutput(path: string): string {
  const lines = readFileSync(path, "utf8").split("\n");
  return lines.map((line) => line.replace(/^\S+ (?:stdout|stderr) [FP] /, "")).join("\n");
}
