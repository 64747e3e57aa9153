/**
 * `trivet node` or `trivet cri` is killed while a pod with a volume comes or goes, and started again. What was
 * acknowledged must still be right, what was in flight must have ended with an error, and nothing may be left.
 */
import { rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createPaths } from "../../src/commands/demo/files.ts";
import { type HostState, leftBehind } from "../../src/commands/demo/host-state.ts";
import { createStage } from "../../src/commands/demo/real-stage.ts";
import { type Clients, connect, fileName, podSpec } from "../../src/commands/demo/scenario.ts";
import type { Stage } from "../../src/commands/demo/stage.ts";
import { PodStartError, type RunningPod, startPod, stopPod, waitForExit } from "../fakes/kubelet/pod.ts";
import { createStepRecorder, type StepTiming } from "../fakes/kubelet/timing.ts";
import { createVolume, deleteVolume } from "../fakes/kubelet/volumes.ts";

const VOLUME_BYTES = 16 << 20;
/** Codes by which a caller knows that a call did not get through: it may try again. */
const UNAVAILABLE = 14;

let stage: Stage;
let clients: Clients;
let before: HostState;

beforeAll(async () => {
  stage = await createStage(await createPaths());
  before = await stage.hostState();
  await stage.start(createStepRecorder());
  clients = connect(stage);
});

afterAll(async () => {
  clients?.cri.close();
  await stage.stop();
  await rm(stage.paths.root, { recursive: true, force: true });
});

type Victim = "node" | "cri";

interface Kill {
  readonly victim: Victim;
  /** Killed this long after the step before it ended. */
  readonly step: string;
  readonly delayMs: number;
}

/** The step before each step of a pod's way, after whose end the clock of a kill starts. */
const previous: Readonly<Record<string, string>> = {
  CreateVolume: "",
  NodePublishVolume: "CreateVolume",
  RunPodSandbox: "NodePublishVolume",
  CreateContainer: "ImageStatus",
  StartContainer: "CreateContainer",
  StopPodSandbox: "StopContainer",
  NodeUnpublishVolume: "StopPodSandbox",
  RemovePodSandbox: "RemoveContainer",
  DeleteVolume: "RemovePodSandbox",
};

/** Kills the victim at its moment, once, and starts it again a little later. */
function createKiller({ victim, step, delayMs }: Kill) {
  let dead: Promise<void> | undefined;
  const strike = async () => {
    await sleep(delayMs);
    await stage[victim].kill();
    await sleep(50);
    await stage[victim].start();
  };
  return {
    onStep(ended: StepTiming | { readonly step: string }) {
      if (ended.step === previous[step]) dead ??= strike();
    },
    /** Resolves when the victim serves again, and the client's connection is back after its pause. */
    async recovered() {
      expect(dead, `the step before ${step} never came`).toBeDefined();
      await dead;
      await expect
        .poll(() => clients.cri.call("Version").catch(() => null), { timeout: 10_000 })
        .not.toBeNull();
    },
  };
}

type Killer = ReturnType<typeof createKiller>;

/** As the kubelet and the provisioner do: a call that did not get through is made again. */
async function retried<T>(killer: Killer, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    expect((error as { code?: number }).code, String(error)).toBe(UNAVAILABLE);
    await killer.recovered();
    return call();
  }
}

/** A start that failed is taken down and tried anew with the next attempt, as the kubelet's sync loop does. */
async function startedPod(killer: Killer, name: string, volumeId: string): Promise<RunningPod> {
  const deps = {
    ...clients,
    kubeletRoot: stage.paths.kubelet,
    logRoot: stage.paths.podLogs,
    onStep: killer.onStep,
  };
  const spec = podSpec(stage.image, volumeId, name);
  try {
    return await startPod(deps, spec);
  } catch (error) {
    if (!(error instanceof PodStartError)) throw error;
    await killer.recovered();
    await removeSandboxes();
    await stopPod({ ...error.pod, sandboxId: "", containers: {} }, 0);
    return startPod(deps, { ...spec, attempt: 1 });
  }
}

/** What the kubelet's garbage collection does with sandboxes that it does not know. */
async function removeSandboxes(): Promise<void> {
  const { items } = await clients.cri.call("ListPodSandbox");
  for (const { id } of items) {
    await clients.cri.call("StopPodSandbox", { pod_sandbox_id: id });
    await clients.cri.call("RemovePodSandbox", { pod_sandbox_id: id });
  }
}

async function stoppedPod(killer: Killer, pod: RunningPod): Promise<void> {
  await stopPod(pod, 0).catch(async (error: unknown) => {
    await killer.recovered();
    expect(String(error)).toMatch(/UNAVAILABLE|try again|did not answer|ended the connection/);
    await stopPod(pod, 0);
  });
}

async function wholeLife(kill: Kill): Promise<void> {
  const killer = createKiller(kill);
  const name = `pod-${kill.victim}-${kill.step.toLowerCase()}-${kill.delayMs}`;
  killer.onStep({ step: "" });
  const { volume_id } = await retried(killer, () =>
    createVolume(clients.csi, { name, sizeBytes: VOLUME_BYTES }),
  );
  killer.onStep({ step: "CreateVolume" });
  const pod = await startedPod(killer, name, volume_id);
  await waitForExit(pod, "main").catch(async () => {
    await killer.recovered();
    await waitForExit(pod, "main");
  });

  const { content } = await stage.readVolumeFile(volume_id, fileName);
  expect(content).toBe(`hello from ${name}\n`);
  const leases = await stage.leases();
  expect(leases.map(({ containerId, address }) => [containerId, address])).toEqual([[pod.sandboxId, pod.ip]]);

  await stoppedPod(killer, pod);
  killer.onStep({ step: "RemovePodSandbox" });
  await retried(killer, () => deleteVolume(clients.csi, volume_id));
  await killer.recovered();
}

const kills: Kill[] = Object.keys(previous).flatMap((step) => {
  const victims: Victim[] = ["node", "cri"];
  return victims.flatMap((victim) => [{ victim, step, delayMs: step === "RunPodSandbox" ? 25 : 1 }]);
});

describe("a pod with a volume comes and goes", () => {
  it.each(kills)("while trivet $victim is killed $delayMs ms into $step", async (kill) => {
    await wholeLife(kill);
    expect(await stage.leases()).toEqual([]);
    await expect.poll(() => stage.volumes(), { timeout: 5_000 }).toEqual([]);
  });

  it("and in the end nothing is left", async () => {
    clients.cri.close();
    await stage.stop();
    expect(leftBehind(before, await stage.hostState())).toEqual([]);
  });
});
