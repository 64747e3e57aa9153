import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { runUntilStopped } from "../containerd/runtime.ts";
import { startFakeContainerd } from "../containerd/server.ts";
import { status } from "../containerd/status.ts";
import { connectCri } from "./cri-client.ts";
import { startPod } from "./pod.ts";
import { startPolls, validateRuntime } from "./polls.ts";

async function start() {
  const directory = await mkdtemp(join(tmpdir(), "trivet-polls-"));
  const containerd = await startFakeContainerd({ path: join(directory, "c.sock"), run: runUntilStopped });
  const cri = connectCri({ path: containerd.path });
  onTestFinished(async () => {
    cri.close();
    await containerd.stop();
    await rm(directory, { recursive: true });
  });
  return { directory, containerd, cri };
}

it("polls as a kubelet does, and asks for the status of every running container", async () => {
  const { directory, containerd, cri } = await start();
  await startPod(
    { cri, kubeletRoot: directory, logRoot: directory },
    { name: "a", namespace: "b", uid: "c", containers: [{ name: "main", image: "busybox" }] },
  );
  const polls = startPolls(cri, {
    plegMs: 5,
    containerStatusMs: 10,
    statusMs: 10,
    statsMs: 10,
    imageFsMs: 10,
  });
  await expect.poll(() => polls.calls.ContainerStatus ?? 0).toBeGreaterThan(1);
  await polls.stop();
  expect(Object.keys(polls.calls).sort()).toEqual([
    "ContainerStatus",
    "ImageFsInfo",
    "ListContainerStats",
    "ListContainers",
    "ListPodSandbox",
    "Status",
  ]);
  const seen = containerd.requests.all.length;
  await new Promise((resolve) => setTimeout(resolve, 30));
  expect(containerd.requests.all.length).toBe(seen);
  expect(polls.errors).toBe(0);
});

it("goes on polling over failures, and counts them", async () => {
  const { containerd, cri } = await start();
  containerd.inject("Status", { times: 1, error: { code: status.UNAVAILABLE, message: "away" } });
  const failed: string[] = [];
  const polls = startPolls(cri, { statusMs: 5, onError: (method) => failed.push(method) });
  await expect.poll(() => polls.calls.Status ?? 0).toBeGreaterThan(2);
  await polls.stop();
  expect(failed).toEqual(["Status"]);
  expect(polls.errors).toBe(1);
});

it("refuses a runtime as a kubelet does at its start", async () => {
  const { containerd, cri } = await start();
  await validateRuntime(cri);
  containerd.inject("ImageFsInfo", { error: { code: status.UNIMPLEMENTED, message: "no images here" } });
  await expect(validateRuntime(cri)).rejects.toThrow("no images here");
});
