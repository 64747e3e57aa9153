/** A pool of images behind the real socket: what a kubelet does with a volume in its life, mounted and as a raw device. */
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createMounts } from "../../src/host/mount.ts";
import { createSyscalls } from "../../src/host/syscall.ts";
import { type CreateVolumeResponse, createRequest } from "../conformance/csi/requests.ts";
import { type Subject, startSubject } from "../conformance/csi/subject.ts";
import { loopsBelow, MIB, run, shownBytes } from "./support/image-world.ts";

const mounts = createMounts(createSyscalls());
let subject: Subject;

beforeEach(async () => {
  subject = await startSubject({ mounts: () => mounts, settings: ",backend=image" });
});

afterEach(async () => {
  for (const { mountPoint } of [...(await mounts.list())].reverse()) {
    if (mountPoint.startsWith(`${subject.root}/`)) await mounts.unmount(mountPoint);
  }
  const left = await loopsBelow(subject.root);
  await subject.stop();
  expect(left).toEqual([]);
});

const capabilityOf = (access: "mount" | "block") => ({
  mount: access === "mount" ? { fs_type: "", mount_flags: [], volume_mount_group: "" } : null,
  block: access === "block" ? {} : null,
  access_mode: { mode: "SINGLE_NODE_WRITER" },
});

const call = <T>(service: string, method: string, request: object) =>
  subject.client.call<T>(service, method, request);

async function stageOf(access: "mount" | "block", parameters: Readonly<Record<string, string>> = {}) {
  const volume_capability = capabilityOf(access);
  const { volume } = await call<CreateVolumeResponse>("Controller", "CreateVolume", {
    ...createRequest("image"),
    volume_capabilities: [volume_capability],
    capacity_range: { required_bytes: String(300 * MIB), limit_bytes: "0" },
    parameters,
  });
  const staging_target_path = join(subject.kubeletRoot, "staging");
  await mkdir(staging_target_path, { recursive: true });
  const target_path = await subject.target("pod");
  const common = { volume_id: volume.volume_id, staging_target_path, volume_capability };
  return { common, target_path };
}

type Stage = Awaited<ReturnType<typeof stageOf>>;

async function show({ common, target_path }: Stage): Promise<void> {
  await call("Node", "NodeStageVolume", { ...common, publish_context: {}, volume_context: {} });
  await call("Node", "NodePublishVolume", {
    ...{ ...common, target_path, readonly: false, publish_context: {}, volume_context: {} },
  });
}

async function hide({ common: { volume_id, staging_target_path }, target_path }: Stage): Promise<void> {
  await call("Node", "NodeUnpublishVolume", { volume_id, target_path });
  await call("Node", "NodeUnstageVolume", { volume_id, staging_target_path });
}

describe("an image pool behind its socket (needs root)", () => {
  test.each(["ext4", "xfs", "btrfs"])(
    "gives a pod a %s of its own, which grows, and nothing is left",
    async (fsType) => {
      const wanted = await stageOf("mount", { fsType });
      const { volume_id } = wanted.common;
      await show(wanted);
      const { target_path } = wanted;
      expect((await run("findmnt", "-no", "FSTYPE", target_path)).trim()).toBe(fsType);
      expect(await shownBytes(target_path)).toBeGreaterThan(200 * MIB);
      await writeFile(join(target_path, "kept"), "content");
      if (fsType !== "ext4") {
        await call("Node", "NodeExpandVolume", {
          ...{ ...wanted.common, volume_path: target_path },
          capacity_range: { required_bytes: String(364 * MIB), limit_bytes: "0" },
        });
        expect(await shownBytes(target_path)).toBeGreaterThan(264 * MIB);
      }
      await hide(wanted);
      expect(await loopsBelow(subject.root)).toEqual([]);
      await show(wanted);
      expect(await readFile(join(target_path, "kept"), "utf8")).toBe("content");
      await hide(wanted);
      await call("Controller", "DeleteVolume", { volume_id });
      expect(await readdir(join(subject.pool, "volumes"))).toEqual([]);
    },
  );

  test("gives a pod a raw device, and the same again after its loop device was lost", async () => {
    const wanted = await stageOf("block");
    const { volume_id } = wanted.common;
    await show(wanted);
    expect((await stat(wanted.target_path)).isBlockDevice()).toBe(true);
    expect((await run("blockdev", "--getsize64", wanted.target_path)).trim()).toBe(String(300 * MIB));
    await hide(wanted);
    await show(wanted);
    await hide(wanted);
    await call("Controller", "DeleteVolume", { volume_id });
    expect(await readdir(join(subject.pool, "volumes"))).toEqual([]);
  });
});
