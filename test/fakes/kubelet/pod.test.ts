import { mkdir, mkdtemp, readdir, rm, rmdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runUntilStopped } from "../containerd/runtime.ts";
import {
  type FakeContainerd,
  type FakeContainerdOptions,
  startFakeContainerd,
} from "../containerd/server.ts";
import { status } from "../containerd/status.ts";
import { type CriClient, connectCri } from "./cri-client.ts";
import { createCsiClient } from "./csi-client.ts";
import { type KubeletDeps, PodStartError, readLog, startPod, stopPod, waitForExit } from "./pod.ts";
import type { PodSpec } from "./pod-config.ts";
import { serveStub } from "./stub-driver.ts";

const image = "trivet.local/busybox:1";

const spec: PodSpec = {
  name: "web",
  namespace: "shop",
  uid: "2a6d1b1c-0000-4000-8000-000000000001",
  labels: { app: "web" },
  containers: [{ name: "main", image, command: ["sh", "-c", "env"], env: { GREETING: "hello" } }],
};

let directory: string;
let containerd: FakeContainerd;
let cri: CriClient;
let deps: KubeletDeps;

async function start(options: Partial<FakeContainerdOptions> = {}): Promise<void> {
  containerd = await startFakeContainerd({
    path: join(directory, "containerd.sock"),
    images: [image],
    ...options,
  });
  cri = connectCri({ path: containerd.path });
  deps = { cri, kubeletRoot: join(directory, "kubelet"), logRoot: join(directory, "pods") };
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-kubelet-"));
});

afterEach(async () => {
  cri.close();
  await containerd.stop();
  await rm(directory, { recursive: true });
});

describe("a pod on the fake containerd", () => {
  it("runs to its end, with its output in a log of the CRI format", async () => {
    await start({
      run: async ({ env, sandbox }) => ({
        exitCode: 3,
        output: `GREETING=${env.GREETING}\npod ${sandbox.config.metadata?.name}\nno newline`,
      }),
    });
    const pod = await startPod(deps, spec);
    const ended = await waitForExit(pod, "main");
    expect(ended).toMatchObject({ state: "CONTAINER_EXITED", exit_code: 3, reason: "Error" });
    expect((await readLog(pod, "main")).map(({ text }) => text)).toEqual([
      "GREETING=hello",
      "pod web",
      "no newline",
    ]);
    await stopPod(pod);
    expect(pod.steps.map(({ step }) => step)).toEqual([
      "RunPodSandbox",
      "PodSandboxStatus",
      "ImageStatus",
      "CreateContainer",
      "StartContainer",
      "ContainerStatus",
      "StopContainer",
      "StopPodSandbox",
      "RemoveContainer",
      "RemovePodSandbox",
    ]);
    expect(containerd.state.sandboxes.size + containerd.state.containers.size).toBe(0);
    expect(containerd.state.names.size).toBe(0);
    expect(await readdir(deps.logRoot)).toEqual([]);
  });

  it("gets its address from the CNI hook, which is asked to take it back", async () => {
    const asked: string[] = [];
    await start({
      cni: {
        add: async ({ config }) => {
          asked.push(`add ${config.metadata?.uid}`);
          return { ips: ["10.88.0.7", "fd00::7"] };
        },
        del: async ({ config }) => void asked.push(`del ${config.metadata?.uid}`),
      },
    });
    const pod = await startPod(deps, spec);
    expect(pod.ip).toBe("10.88.0.7");
    await stopPod(pod);
    expect(asked).toEqual([`add ${spec.uid}`, `del ${spec.uid}`]);
  });

  it("publishes volumes first, mounts them into the container, and takes them back after the sandbox", async () => {
    await start({ run: runUntilStopped });
    const path = join(directory, "csi.sock");
    const driver = await serveStub("csi", path, {
      NodeGetCapabilities: () => ({ capabilities: [{ rpc: { type: "STAGE_UNSTAGE_VOLUME" } }] }),
      NodeStageVolume: () => ({}),
      NodePublishVolume: async ({ target_path }) => {
        await mkdir(String(target_path));
        return {};
      },
      NodeUnpublishVolume: async ({ target_path }) => {
        await rmdir(String(target_path));
        return {};
      },
      NodeUnstageVolume: () => ({}),
    });
    const pod = await startPod(
      { ...deps, csi: createCsiClient(path) },
      {
        ...spec,
        volumes: [{ name: "pvc-1", driver: "d", volumeId: "v1" }],
        containers: [{ name: "main", image, volumeMounts: { "pvc-1": "/data" } }],
      },
    );
    expect(containerd.requests.last("CreateContainer").request).toMatchObject({
      config: {
        mounts: [{ container_path: "/data", host_path: pod.volumes[0]?.targetPath, readonly: false }],
      },
    });
    await stopPod(pod, 1);
    await driver.stop();
    const steps = pod.steps.map(({ step }) => step);
    expect(steps.slice(0, 3)).toEqual(["NodeStageVolume", "NodePublishVolume", "RunPodSandbox"]);
    expect(steps.slice(-5)).toEqual([
      "StopPodSandbox",
      "NodeUnpublishVolume",
      "NodeUnstageVolume",
      "RemoveContainer",
      "RemovePodSandbox",
    ]);
    expect(pod.steps.every(({ durationMs, error }) => durationMs > 0 && error === undefined)).toBe(true);
  });

  it("pulls an image that is not there, and creates the container from its id", async () => {
    await start({ images: [] });
    const pod = await startPod(deps, spec);
    const pulled = [...containerd.state.images.keys()];
    expect(containerd.requests.last("CreateContainer").request).toMatchObject({
      config: { image: { image: pulled[0], user_specified_image: image } },
    });
    await stopPod(pod);
  });

  it("leaves a half-started pod to be stopped, and says which step failed", async () => {
    await start();
    containerd.inject("CreateContainer", {
      error: { code: status.PERMISSION_DENIED, message: "image is not allowed" },
    });
    const error = await startPod(deps, spec).catch((thrown: unknown) => thrown);
    if (!(error instanceof PodStartError)) throw error;
    expect(error.message).toBe("CreateContainer failed: 7 PERMISSION_DENIED: image is not allowed");
    expect(containerd.state.sandboxes.size).toBe(1);
    await stopPod(error.pod);
    expect(containerd.state.sandboxes.size).toBe(0);
  });
});

describe("the kubelet's deadlines", () => {
  it.each([
    ["Version", {}, 120],
    ["RunPodSandbox", { config: { metadata: { name: "a" } } }, 240],
    ["StopContainer", { container_id: "gone", timeout: "86400" }, 86_520],
    ["ExecSync", { container_id: "gone", timeout: "5" }, 125],
    ["ExecSync", { container_id: "gone", timeout: "0" }, Number.POSITIVE_INFINITY],
    ["PullImage", { image: { image } }, Number.POSITIVE_INFINITY],
  ])("%s %o arrives with %d seconds", async (method, request, seconds) => {
    await start();
    await cri.call(method, request).catch(() => undefined);
    const { deadlineMs } = containerd.requests.last(method);
    expect(deadlineMs / 1000).toBeCloseTo(seconds, -1);
    expect(deadlineMs / 1000).toBeLessThanOrEqual(seconds);
  });
});
