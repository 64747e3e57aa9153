import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type FakeContainerd, startFakeContainerd } from "../../test/fakes/containerd/server.ts";
import { status } from "../../test/fakes/containerd/status.ts";
import { connectCri } from "../../test/fakes/kubelet/cri-client.ts";
import { createSandboxLister } from "./cri-sandboxes.ts";

let directory: string;
let containerd: FakeContainerd;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-cri-"));
  containerd = await startFakeContainerd({ path: join(directory, "c.sock") });
});

afterEach(async () => {
  await containerd.stop();
  await rm(directory, { recursive: true });
});

async function runSandboxes(...names: string[]): Promise<string[]> {
  const cri = connectCri({ path: containerd.path });
  const ids: string[] = [];
  for (const name of names) {
    const config = { metadata: { name, namespace: "n", uid: name }, log_directory: directory };
    ids.push((await cri.call("RunPodSandbox", { config })).pod_sandbox_id);
  }
  cri.close();
  return ids;
}

test("lists the sandboxes that are ready, and none that was stopped", async () => {
  const [first = "", second = ""] = await runSandboxes("a", "b");
  const lister = createSandboxLister(containerd.path);
  expect(await lister.list()).toEqual(new Set([first, second]));
  const cri = connectCri({ path: containerd.path });
  await cri.call("StopPodSandbox", { pod_sandbox_id: first });
  cri.close();
  expect(await lister.list()).toEqual(new Set([second]));
});

test("a runtime that is away, and one that fails, give no list at all; one that came back does", async () => {
  const lister = createSandboxLister(containerd.path);
  const takeBack = containerd.inject("ListPodSandbox", {
    error: { code: status.INTERNAL, message: "broken" },
  });
  await expect(lister.list()).rejects.toMatchObject({
    kind: "unavailable",
    message: expect.stringMatching(/c\.sock does not list its sandboxes: INTERNAL: broken/),
  });
  takeBack();
  const { state } = containerd;
  await containerd.stop();
  await expect(lister.list()).rejects.toMatchObject({ kind: "unavailable" });
  containerd = await startFakeContainerd({ path: join(directory, "c.sock"), state });
  expect(await lister.list()).toEqual(new Set());
});
