/**
 * One pod's way through the kubelet: volumes, sandbox, then each container; and back. The requests hold what a real
 * kubelet puts into them as far as a runtime or a proxy may look at it.
 */
import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type LogLine, parseLog } from "../containerd/log-file.ts";
import type { ContainerStatus } from "../containerd/messages.ts";
import type { CriClient } from "./cri-client.ts";
import type { CsiClient } from "./csi-client.ts";
import { containerConfig, type PodSpec, podLogDirectory, sandboxConfig } from "./pod-config.ts";
import { createStepRecorder, type StepRecorder, type StepTiming } from "./timing.ts";
import { type MountedVolume, mountVolume, unmountVolume } from "./volumes.ts";

const LOG_DIRECTORY_MODE = 0o755;
const POLL_MS = 20;
const DEFAULT_GRACE_SECONDS = 30;
/** The gRPC code. */
const NOT_FOUND = 5;

/** What a kubelet needs to run pods. */
export interface KubeletDeps {
  readonly cri: CriClient;
  /** Needed by pods with volumes. */
  readonly csi?: CsiClient;
  /** The kubelet's root directory, `/var/lib/kubelet` on a node. */
  readonly kubeletRoot: string;
  /** Where pods' log directories are made, `/var/log/pods` on a node. */
  readonly logRoot: string;
  /** Called as each step ends. */
  readonly onStep?: (step: StepTiming) => void;
}

export interface RunningPod {
  readonly spec: PodSpec;
  readonly deps: KubeletDeps;
  readonly sandboxId: string;
  /** The pod's address; empty on the host's network or without CNI. */
  readonly ip: string;
  /** Container name -> id. */
  readonly containers: Readonly<Record<string, string>>;
  readonly volumes: readonly MountedVolume[];
  /** Every step so far, teardown included. */
  readonly steps: readonly StepTiming[];
}

/** A start that failed half-way: `pod` is what exists by then, to be handed to `stopPod`. */
export class PodStartError extends Error {
  override readonly name = "PodStartError";
  readonly pod: RunningPod;

  constructor(pod: RunningPod, cause: unknown) {
    const step = pod.steps.at(-1)?.step ?? "start";
    super(`${step} failed: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.pod = pod;
  }
}

/** The recorder of a pod, kept out of its public shape. */
const recorders = new WeakMap<readonly StepTiming[], StepRecorder>();

interface Building {
  sandboxId: string;
  ip: string;
  readonly containers: Record<string, string>;
  readonly volumes: MountedVolume[];
}

/** Starts everything that `spec` says and returns once every container was started. Throws PodStartError. */
export async function startPod(deps: KubeletDeps, spec: PodSpec): Promise<RunningPod> {
  const recorder = createStepRecorder(deps.onStep);
  recorders.set(recorder.steps, recorder);
  const building: Building = { sandboxId: "", ip: "", containers: {}, volumes: [] };
  const pod = (): RunningPod => ({ spec, deps, ...building, steps: recorder.steps });
  try {
    await mountVolumes(deps, spec, recorder, building);
    await runSandbox(deps, spec, recorder, building);
    for (const container of spec.containers) {
      building.containers[container.name] = await runContainer(pod(), container.name, recorder);
      await recorder.run("StartContainer", container.name, () =>
        deps.cri.call("StartContainer", { container_id: building.containers[container.name] }),
      );
    }
    return pod();
  } catch (error) {
    throw new PodStartError(pod(), error);
  }
}

async function mountVolumes(
  deps: KubeletDeps,
  spec: PodSpec,
  recorder: StepRecorder,
  building: Building,
): Promise<void> {
  for (const volume of spec.volumes ?? []) {
    const { csi } = deps;
    if (!csi) throw new Error(`volume ${volume.name}: the kubelet has no CSI driver`);
    const options = { ...volume, csi, kubeletRoot: deps.kubeletRoot, podUid: spec.uid };
    building.volumes.push(await mountVolume(options, (step, work) => recorder.run(step, volume.name, work)));
  }
}

async function runSandbox(
  { cri, logRoot }: KubeletDeps,
  spec: PodSpec,
  recorder: StepRecorder,
  building: Building,
): Promise<void> {
  const config = sandboxConfig(spec, logRoot);
  await mkdir(config.log_directory, { recursive: true, mode: LOG_DIRECTORY_MODE });
  const { pod_sandbox_id } = await recorder.run("RunPodSandbox", "", () =>
    cri.call("RunPodSandbox", { config, runtime_handler: spec.runtimeHandler ?? "" }),
  );
  building.sandboxId = pod_sandbox_id;
  const { status } = await recorder.run("PodSandboxStatus", "", () =>
    cri.call("PodSandboxStatus", { pod_sandbox_id }),
  );
  building.ip = status.network?.ip ?? "";
}

/** The image, then CreateContainer; gives the container's id. */
async function runContainer(pod: RunningPod, name: string, recorder: StepRecorder): Promise<string> {
  const { deps, spec } = pod;
  const container = spec.containers.find((candidate) => candidate.name === name);
  if (!container) throw new Error(`the pod has no container ${name}`);
  const image = { image: container.image };
  const present = await recorder.run("ImageStatus", name, () => deps.cri.call("ImageStatus", { image }));
  let imageId = present.image?.id ?? "";
  if (imageId === "") {
    const sandbox_config = sandboxConfig(spec, deps.logRoot);
    const pulled = await recorder.run("PullImage", name, () =>
      deps.cri.call("PullImage", { image, sandbox_config }),
    );
    imageId = pulled.image_ref;
  }
  await mkdir(join(podLogDirectory(spec, deps.logRoot), name), { recursive: true, mode: LOG_DIRECTORY_MODE });
  const { container_id } = await recorder.run("CreateContainer", name, () =>
    deps.cri.call("CreateContainer", {
      pod_sandbox_id: pod.sandboxId,
      config: containerConfig(spec, container, { imageId, volumes: pod.volumes }),
      sandbox_config: sandboxConfig(spec, deps.logRoot),
    }),
  );
  return container_id;
}

/** Polls a container until it has exited; rejects after `timeoutMs`. */
export async function waitForExit(
  pod: RunningPod,
  name: string,
  timeoutMs = 30_000,
): Promise<ContainerStatus> {
  const container_id = containerId(pod, name);
  return recorderOf(pod).run("ContainerStatus", name, async () => {
    const until = performance.now() + timeoutMs;
    for (;;) {
      const { status } = await pod.deps.cri.call("ContainerStatus", { container_id });
      if (status.state === "CONTAINER_EXITED") return status;
      if (performance.now() > until) throw new Error(`container ${name} still runs after ${timeoutMs} ms`);
      await sleep(POLL_MS);
    }
  });
}

/** The lines that a container has logged so far. */
export async function readLog(pod: RunningPod, name: string): Promise<LogLine[]> {
  const { status } = await pod.deps.cri.call("ContainerStatus", { container_id: containerId(pod, name) });
  return parseLog(await readFile(status.log_path, "utf8"));
}

/**
 * Ends a pod as the kubelet does: containers, sandbox, volumes, then what the garbage collector removes. Every step
 * is tried even if one before it failed; the first failure is thrown at the end.
 */
export async function stopPod(pod: RunningPod, graceSeconds = DEFAULT_GRACE_SECONDS): Promise<void> {
  const { cri, logRoot } = pod.deps;
  const recorder = recorderOf(pod);
  const failures: unknown[] = [];
  const attempt = (step: string, subject: string, work: () => Promise<unknown>) =>
    recorder.run(step, subject, work).catch((error: unknown) => {
      // Gone already, by an earlier try: what was wanted.
      if ((error as { code?: number }).code !== NOT_FOUND) failures.push(error);
    });
  const containers = Object.entries(pod.containers);
  for (const [name, container_id] of containers) {
    await attempt("StopContainer", name, () =>
      cri.call("StopContainer", { container_id, timeout: String(graceSeconds) }),
    );
  }
  const byId = { pod_sandbox_id: pod.sandboxId };
  if (pod.sandboxId !== "") await attempt("StopPodSandbox", "", () => cri.call("StopPodSandbox", byId));
  for (const volume of pod.volumes) {
    const timed = (step: string, work: () => Promise<unknown>) => recorder.run(step, volume.name, work);
    await unmountVolume(volume, timed).catch((error: unknown) => failures.push(error));
  }
  for (const [name, container_id] of containers) {
    await attempt("RemoveContainer", name, () => cri.call("RemoveContainer", { container_id }));
  }
  if (pod.sandboxId !== "") await attempt("RemovePodSandbox", "", () => cri.call("RemovePodSandbox", byId));
  await rm(podLogDirectory(pod.spec, logRoot), { recursive: true, force: true });
  if (failures.length > 0) throw failures[0];
}

function containerId(pod: RunningPod, name: string): string {
  const id = pod.containers[name];
  if (id === undefined) throw new Error(`the pod has no running container ${name}`);
  return id;
}

function recorderOf(pod: RunningPod): StepRecorder {
  return recorders.get(pod.steps) ?? createStepRecorder(pod.deps.onStep);
}
