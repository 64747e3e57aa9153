/**
 * The demo itself: one pod through CSI, CNI and CRI, played as the kubelet and external-provisioner would, then
 * taken down. Gives what was seen at each point; whoever called shows it or checks it.
 */
import { type CriClient, connectCri } from "../../../test/fakes/kubelet/cri-client.ts";
import { type CsiClient, createCsiClient } from "../../../test/fakes/kubelet/csi-client.ts";
import {
  PodStartError,
  type RunningPod,
  readLog,
  startPod,
  stopPod,
  waitForExit,
} from "../../../test/fakes/kubelet/pod.ts";
import type { PodSpec } from "../../../test/fakes/kubelet/pod-config.ts";
import {
  createStepRecorder,
  type StepRecorder,
  type StepTiming,
} from "../../../test/fakes/kubelet/timing.ts";
import { createVolume, deleteVolume } from "../../../test/fakes/kubelet/volumes.ts";
import { driverName } from "../../csi/names.ts";
import { policyVariable } from "./files.ts";
import type { Stage } from "./stage.ts";

const VOLUME_NAME = "pvc-demo";
const VOLUME_BYTES = 64 << 20;
export const fileName = "hello.txt";

const script = `
echo "hello from $(hostname)" > /data/${fileName}
set -- $(ip -4 -o address show dev eth0); echo "address $4"
echo "route $(ip -4 route show default)"
echo "variable ${policyVariable.name}=$${policyVariable.name}"
`;

/** What the container said, by the first word of its lines. */
export interface Seen {
  readonly address: string;
  readonly route: string;
  readonly variable: string;
}

export interface DemoPod {
  readonly volumeId: string;
  readonly pod: RunningPod;
  readonly seen: Seen;
}

export type OnStep = (step: StepTiming) => void;

export interface Clients {
  readonly csi: CsiClient;
  readonly cri: CriClient;
}

export function connect({ paths }: Stage): Clients {
  return { csi: createCsiClient(paths.csiSocket), cri: connectCri({ path: paths.criSocket }) };
}

export function podSpec(image: string, volumeId: string, name = "demo-pod"): PodSpec {
  return {
    name,
    namespace: "demo",
    uid: `uid-${name}`,
    volumes: [{ name: VOLUME_NAME, driver: driverName, volumeId }],
    containers: [
      { name: "main", image, command: ["/bin/sh", "-c", script], volumeMounts: { [VOLUME_NAME]: "/data" } },
    ],
  };
}

function parseSeen(lines: readonly string[]): Seen {
  const after = (word: string) =>
    lines.find((line) => line.startsWith(`${word} `))?.slice(word.length + 1) ?? "";
  return { address: after("address"), route: after("route"), variable: after("variable") };
}

export async function makeVolume({ csi }: Clients, steps: StepRecorder, name = VOLUME_NAME): Promise<string> {
  const volume = await steps.run("CreateVolume", name, () =>
    createVolume(csi, { name, sizeBytes: VOLUME_BYTES }),
  );
  return volume.volume_id;
}

/** Volume, pod, and what its container printed. What was made by the time of a failure is taken down again. */
export async function runPod(stage: Stage, clients: Clients, onStep: OnStep): Promise<DemoPod> {
  const steps = createStepRecorder(onStep);
  const volumeId = await makeVolume(clients, steps);
  const deps = { ...clients, kubeletRoot: stage.paths.kubelet, logRoot: stage.paths.podLogs, onStep };
  let pod: RunningPod | undefined;
  try {
    pod = await startPod(deps, podSpec(stage.image, volumeId));
    const { exit_code } = await waitForExit(pod, "main");
    const lines = (await readLog(pod, "main")).map(({ text }) => text);
    if (exit_code !== 0) throw new Error(`the container ended with code ${exit_code}: ${lines.join("; ")}`);
    return { volumeId, pod, seen: parseSeen(lines) };
  } catch (error) {
    const started = error instanceof PodStartError ? error.pod : pod;
    if (started) await stopPod(started, 0).catch(() => undefined);
    await deleteVolume(clients.csi, volumeId).catch(() => undefined);
    throw error;
  }
}

/** The pod, then its volume. */
export async function removePod({ csi }: Clients, { pod, volumeId }: DemoPod, onStep: OnStep): Promise<void> {
  await stopPod(pod, 0);
  await createStepRecorder(onStep).run("DeleteVolume", VOLUME_NAME, () => deleteVolume(csi, volumeId));
}
