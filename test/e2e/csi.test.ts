/** The CSI leg with the kernel's own mounts, as root, below a scratch kubelet directory. */
import { mkdir, open, readdir, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createMounts } from "../../src/host/mount.ts";
import { createSyscalls } from "../../src/host/syscall.ts";
import {
  type CreateVolumeResponse,
  capability,
  createRequest,
  publishRequest,
  stagingFor,
} from "../conformance/csi/requests.ts";
import { type Subject, type SubjectOptions, startSubject } from "../conformance/csi/subject.ts";

const syscalls = createSyscalls();
const mounts = createMounts(syscalls);
let subject: Subject;

async function start(options: SubjectOptions = {}): Promise<void> {
  subject = await startSubject({ mounts: () => mounts, ...options });
}

const mountsBelow = async (path: string) =>
  (await mounts.list()).filter(({ mountPoint }) => mountPoint.startsWith(`${path}/`));

/** Mounts in pods: what is staged is the kubelet's affair. */
const published = () => mountsBelow(join(subject.kubeletRoot, "pods"));

beforeEach(async () => {
  if (process.getuid?.() !== 0) throw new Error("these tests mount: run them as root");
  await start();
});

afterEach(async () => {
  const left = await mountsBelow(subject.root);
  for (const { mountPoint } of left.reverse()) await syscalls.unmount(mountPoint, 8);
  await subject.stop();
});

const call = <T>(service: string, method: string, request?: object) =>
  subject.client.call<T>(service, method, request);
const code = async (service: string, method: string, request?: object) =>
  (await subject.client.refused(service, method, request)).code;

async function create(name: string): Promise<string> {
  const { volume } = await call<CreateVolumeResponse>("Controller", "CreateVolume", createRequest(name));
  return volume.volume_id;
}

const publish = (id: string, target: string, changes: object = {}) =>
  call("Node", "NodePublishVolume", publishRequest(id, target, changes));
const unpublish = (volume_id: string, target_path: string) =>
  call("Node", "NodeUnpublishVolume", { volume_id, target_path });
const unstage = (volume_id: string, target: string) =>
  call("Node", "NodeUnstageVolume", { volume_id, staging_target_path: stagingFor(volume_id, target) });
const dataOf = (id: string) => join(subject.pool, "volumes", id, "data");

describe("a published volume", () => {
  test("takes writes, which are in the pool, and is gone from the table and the tree when it is unpublished", async () => {
    const [id, target] = [await create("written"), await subject.target("pod")];
    await publish(id, target);
    await writeFile(join(target, "file"), "content");
    expect(await readFile(join(dataOf(id), "file"), "utf8")).toBe("content");
    await unpublish(id, target);
    await expect(stat(target)).rejects.toMatchObject({ code: "ENOENT" });
    await unstage(id, target);
    expect(await mountsBelow(subject.root)).toEqual([]);
    expect(await readFile(join(dataOf(id), "file"), "utf8")).toBe("content");
  });

  test("refuses writes where it is read-only, and shows those that are made elsewhere", async () => {
    const id = await create("shared");
    const [writable, readOnly] = [await subject.target("writer"), await subject.target("reader")];
    await publish(id, writable);
    await publish(id, readOnly, { readonly: true });
    await writeFile(join(writable, "file"), "content");
    expect(await readFile(join(readOnly, "file"), "utf8")).toBe("content");
    await expect(writeFile(join(readOnly, "other"), "")).rejects.toMatchObject({ code: "EROFS" });
    for (const target of [writable, readOnly]) await unpublish(id, target);
  });

  test("carries nosuid and nodev always, and the flags that were asked for", async () => {
    const [id, target] = [await create("flags"), await subject.target("pod")];
    await publish(id, target, { volume_capability: capability(undefined, ["noexec", "noatime"]) });
    const [mount] = await published();
    expect(mount?.options).toEqual(expect.arrayContaining(["rw", "nosuid", "nodev", "noexec", "noatime"]));
    await unpublish(id, target);
  });

  test("is published once however often it is asked for, and not with other arguments", async () => {
    const [id, target] = [await create("again"), await subject.target("pod")];
    for (let count = 0; count < 3; count++) await publish(id, target);
    expect(await published()).toHaveLength(1);
    const other = publishRequest(id, target, { readonly: true });
    expect(await code("Node", "NodePublishVolume", other)).toBe("ALREADY_EXISTS");
    await unpublish(id, target);
  });

  test("cannot be deleted, also while only a directory within it is mounted", async () => {
    const [id, target] = [await create("in use"), await subject.target("pod")];
    await publish(id, target);
    expect(await code("Controller", "DeleteVolume", { volume_id: id })).toBe("FAILED_PRECONDITION");
    await mkdir(join(target, "sub"));
    const subPath = join(subject.kubeletRoot, "subpath");
    await mkdir(subPath);
    await mounts.bind(join(target, "sub"), subPath, { readOnly: false, flags: [] });
    await unpublish(id, target);
    expect(await code("Controller", "DeleteVolume", { volume_id: id })).toBe("FAILED_PRECONDITION");
    await mounts.unmount(subPath);
    expect(await code("Controller", "DeleteVolume", { volume_id: id })).toBe("FAILED_PRECONDITION");
    await unstage(id, target);
    await call("Controller", "DeleteVolume", { volume_id: id });
    await expect(stat(dataOf(id))).rejects.toMatchObject({ code: "ENOENT" });
  });

  test("cannot be deleted while something is mounted in it, and nothing of that is lost", async () => {
    const id = await create("host");
    const outside = join(subject.root, "outside");
    await mkdir(outside);
    await writeFile(join(outside, "precious"), "data");
    const guest = join(dataOf(id), "guest");
    await mkdir(guest);
    await mounts.bind(outside, guest, { readOnly: false, flags: [] }); // of the same disk: the device tells nothing
    expect(await code("Controller", "DeleteVolume", { volume_id: id })).toBe("FAILED_PRECONDITION");
    await mounts.unmount(guest);
    await call("Controller", "DeleteVolume", { volume_id: id });
    expect(await readdir(outside)).toEqual(["precious"]);
  });

  test("survives a restart of the driver, which knows it from the mount table", async () => {
    const [id, target] = [await create("restarted"), await subject.target("pod")];
    await publish(id, target);
    const held = await open(join(target, "file"), "w");
    subject = await subject.restart();
    await held.writeFile("still here");
    await held.close();
    await publish(id, target);
    expect(await published()).toHaveLength(1);
    await unpublish(id, target);
    expect(await readFile(join(dataOf(id), "file"), "utf8")).toBe("still here");
  });
});

describe("unpublish", () => {
  test("takes away every mount that is stacked on the target, and no data", async () => {
    const [id, target] = [await create("stacked"), await subject.target("pod")];
    await publish(id, target);
    await writeFile(join(target, "precious"), "data");
    await mounts.bind(dataOf(id), target, { readOnly: true, flags: [] });
    await syscalls.mount("tmpfs", target, "tmpfs", 0, "size=64k");
    await writeFile(join(target, "scratch"), "in the tmpfs");
    expect(await published()).toHaveLength(3);
    await unpublish(id, target);
    expect(await published()).toEqual([]);
    expect(await readdir(dataOf(id))).toEqual(["precious"]);
  });

  test("of a mount in use fails, changes nothing, and works when it is free", async () => {
    const [id, target] = [await create("busy"), await subject.target("pod")];
    await publish(id, target);
    const held = await open(join(target, "file"), "w");
    expect(await code("Node", "NodeUnpublishVolume", { volume_id: id, target_path: target })).toBe(
      "FAILED_PRECONDITION",
    );
    expect(await published()).toHaveLength(1);
    await held.close();
    await unpublish(id, target);
  });

  test("leaves what is in a target that is not mounted", async () => {
    const [id, target] = [await create("never mounted"), await subject.target("pod")];
    await mkdir(target);
    await writeFile(join(target, "precious"), "data");
    const request = { volume_id: id, target_path: target };
    expect(await code("Node", "NodeUnpublishVolume", request)).toBe("FAILED_PRECONDITION");
    expect(await code("Node", "NodePublishVolume", publishRequest(id, target))).toBe("FAILED_PRECONDITION");
    expect(await readdir(target)).toEqual(["precious"]);
  });

  test("does not pull away what is not the volume's", async () => {
    const [id, target] = [await create("other"), await subject.target("pod")];
    await mkdir(target);
    await syscalls.mount("tmpfs", target, "tmpfs", 0, "size=64k");
    const request = { volume_id: id, target_path: target };
    expect(await code("Node", "NodeUnpublishVolume", request)).toBe("FAILED_PRECONDITION");
    expect(await published()).toHaveLength(1);
  });
});

describe("hostile targets", () => {
  test("a target that is a file is refused by both calls, and stays", async () => {
    const [id, target] = [await create("file"), await subject.target("pod")];
    await writeFile(target, "a file");
    const request = publishRequest(id, target);
    expect(await code("Node", "NodePublishVolume", request)).toBe("FAILED_PRECONDITION");
    expect(await code("Node", "NodeUnpublishVolume", request)).toBe("FAILED_PRECONDITION");
    expect(await readFile(target, "utf8")).toBe("a file");
  });

  test.each(["on the way to the target", "at the target"])(
    "a symbolic link %s leads nowhere",
    async (where) => {
      const [id, target] = [await create("link"), await subject.target("pod")];
      const outside = join(subject.root, "outside");
      await mkdir(join(outside, "mount"), { recursive: true });
      const parent = join(target, "..");
      if (where === "at the target") await symlink(join(outside, "mount"), target);
      else {
        await rm(parent, { recursive: true });
        await symlink(outside, parent);
      }
      const request = publishRequest(id, target);
      expect(await code("Node", "NodePublishVolume", request)).toBe("FAILED_PRECONDITION");
      expect(await code("Node", "NodeUnpublishVolume", request)).toBe("FAILED_PRECONDITION");
      expect(await readdir(outside)).toEqual(["mount"]);
      expect(await mountsBelow(subject.root)).toEqual([]);
    },
  );

  test("a link in a volume, planted by its tenant, does not lead its removal out of the pool", async () => {
    const [id, target] = [await create("planted"), await subject.target("pod")];
    const outside = join(subject.root, "outside");
    await mkdir(outside);
    await writeFile(join(outside, "precious"), "data");
    await publish(id, target);
    await symlink(outside, join(target, "escape"));
    await mkdir(join(target, "deep", "deeper"), { recursive: true });
    await unpublish(id, target);
    await unstage(id, target);
    await call("Controller", "DeleteVolume", { volume_id: id });
    await expect.poll(async () => (await subject.server.pools())[0]?.trashed).toBe(0);
    expect(await readdir(outside)).toEqual(["precious"]);
  });
});

describe("paths with symbolic links that the administrator made", () => {
  test("a kubelet directory behind a link works like any other", async () => {
    await subject.client.call("Identity", "Probe");
    const real = join(subject.root, "elsewhere");
    await rename(subject.kubeletRoot, real);
    await symlink(real, subject.kubeletRoot);
    const [id, target] = [await create("linked"), await subject.target("pod")];
    await publish(id, target);
    await publish(id, target);
    await writeFile(join(target, "file"), "content");
    expect(await mountsBelow(join(real, "pods"))).toHaveLength(1);
    expect(await code("Controller", "DeleteVolume", { volume_id: id })).toBe("FAILED_PRECONDITION");
    await unpublish(id, target);
    await unstage(id, target);
    expect(await mountsBelow(real)).toEqual([]);
  });
});

describe("a pool on a disk of its own", () => {
  const disk = () => join(subject.root, "disk");
  const mountDisk = () => syscalls.mount("tmpfs", disk(), "tmpfs", 0, "size=64m");
  const onDisk = (name: string) => createRequest(name, { parameters: { pool: "disk" } });

  beforeEach(async () => {
    await subject.stop();
    await start({ morePools: (root) => [`disk=${root}/disk`] });
    await mkdir(disk());
  });

  test("is never written to while the disk is not mounted, works when it is, and stops when it goes or is another", async () => {
    expect(await code("Controller", "CreateVolume", onDisk("one"))).toBe("UNAVAILABLE");
    await mountDisk();
    const { volume } = await call<CreateVolumeResponse>("Controller", "CreateVolume", onDisk("one"));
    const target = await subject.target("pod");
    await publish(volume.volume_id, target);
    await writeFile(join(target, "file"), "content");
    await unpublish(volume.volume_id, target);
    await unstage(volume.volume_id, target);
    await mounts.unmount(disk());
    for (const state of ["unmounted", "another disk"]) {
      if (state === "another disk") await mountDisk();
      expect(await code("Controller", "CreateVolume", onDisk("two"))).toBe("UNAVAILABLE");
      expect(await code("Controller", "DeleteVolume", { volume_id: volume.volume_id })).toBe("UNAVAILABLE");
      expect(await code("Node", "NodePublishVolume", publishRequest(volume.volume_id, target))).toBe(
        "UNAVAILABLE",
      );
      expect(await readdir(disk())).toEqual([]);
    }
  });

  test("lets a mount go whose disk has died", async () => {
    await mountDisk();
    const { volume } = await call<CreateVolumeResponse>("Controller", "CreateVolume", onDisk("one"));
    const target = await subject.target("pod");
    await publish(volume.volume_id, target);
    await syscalls.unmount(disk(), 2); // MNT_DETACH: the published mount still holds the file system
    await unpublish(volume.volume_id, target);
    await unstage(volume.volume_id, target);
    expect(await mountsBelow(subject.kubeletRoot)).toEqual([]);
  });
});
