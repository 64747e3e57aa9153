/** Staging, statistics, expansion, groups, flags and inline volumes with the kernel's own mounts, on a directory pool. */
import { chmod, mkdir, open, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createMounts } from "../../src/host/mount.ts";
import { createSyscalls } from "../../src/host/syscall.ts";
import {
  type CreateVolumeResponse,
  capability,
  createRequest,
  MIB,
  publishRequest,
  stagingFor,
} from "../conformance/csi/requests.ts";
import { type Subject, startSubject } from "../conformance/csi/subject.ts";

const syscalls = createSyscalls();
const mounts = createMounts(syscalls);
let subject: Subject;

const mountsBelow = async (path: string) =>
  (await mounts.list()).filter(({ mountPoint }) => mountPoint.startsWith(`${path}/`));

beforeEach(async () => {
  if (process.getuid?.() !== 0) throw new Error("these tests mount: run them as root");
  subject = await startSubject({
    mounts: () => mounts,
    settings: ",backend=directory",
    inlineMaxBytes: 2 * MIB,
  });
});

afterEach(async () => {
  const left = await mountsBelow(subject.root);
  for (const { mountPoint } of left.reverse()) await syscalls.unmount(mountPoint, 8);
  await subject.stop();
});

const call = <T>(service: string, method: string, request?: object) =>
  subject.client.call<T>(service, method, request);
const code = async (method: string, request: object) =>
  (await subject.client.refused("Node", method, request)).code;

async function create(name: string, changes: object = {}): Promise<string> {
  const { volume } = await call<CreateVolumeResponse>(
    "Controller",
    "CreateVolume",
    createRequest(name, changes),
  );
  return volume.volume_id;
}

const publish = (id: string, target: string, changes: object = {}) =>
  call("Node", "NodePublishVolume", publishRequest(id, target, changes));
const unpublish = (volume_id: string, target_path: string) =>
  call("Node", "NodeUnpublishVolume", { volume_id, target_path });
const withGroup = (group: string) => ({
  mount: { mount_flags: [], volume_mount_group: group },
  access_mode: { mode: "SINGLE_NODE_MULTI_WRITER" },
});

interface Stats {
  readonly usage: readonly { readonly unit: string; readonly total: string; readonly available: string }[];
  readonly volume_condition: { readonly abnormal: boolean; readonly message: string };
}

describe("staging", () => {
  const stageRequest = (id: string, target: string, changes: object = {}) => ({
    ...{ volume_id: id, staging_target_path: stagingFor(id, target), volume_capability: capability() },
    ...changes,
  });

  test("mounts once however often it is asked for, not with other flags, and leaves the kubelet's directory", async () => {
    const [id, target] = [await create("staged"), await subject.target("pod")];
    const staging = stagingFor(id, target);
    await mkdir(staging);
    for (let count = 0; count < 3; count++) await call("Node", "NodeStageVolume", stageRequest(id, target));
    expect(await mountsBelow(subject.kubeletRoot)).toHaveLength(1);
    const other = stageRequest(id, target, { volume_capability: capability(undefined, ["noexec"]) });
    expect(await code("NodeStageVolume", other)).toBe("ALREADY_EXISTS");
    for (let count = 0; count < 3; count++) await call("Node", "NodeUnstageVolume", stageRequest(id, target));
    expect(await mountsBelow(subject.kubeletRoot)).toEqual([]);
    expect((await stat(staging)).isDirectory()).toBe(true);
  });

  test("is made up for by publish, as after a reboot, and by a publish whose volume lost its staging", async () => {
    const [id, target] = [await create("healed"), await subject.target("pod")];
    await publish(id, target);
    await writeFile(join(target, "file"), "content");
    const staging = stagingFor(id, target);
    await mounts.unmount(staging);
    const second = await subject.target("second");
    await publish(id, second);
    expect((await stat(join(second, "file"))).size).toBe(7);
    expect((await mounts.list()).filter(({ mountPoint }) => mountPoint === staging)).toHaveLength(1);
    // A remount of access times from outside is nobody's business.
    await syscalls.mount("none", second, "", 0x20 | 0x1000 | 0x400 | 0x2 | 0x4, "");
    await publish(id, second);
  });
});

describe("statistics", () => {
  test("tell bytes, inodes and that all is well where the volume is published, and NOT_FOUND where it is not", async () => {
    const [id, target] = [await create("measured"), await subject.target("pod")];
    await publish(id, target);
    const staging_target_path = stagingFor(id, target);
    const at = (volume_path: string) => ({ volume_id: id, volume_path, staging_target_path });
    const stats = await call<Stats>("Node", "NodeGetVolumeStats", at(target));
    expect(stats.usage.map(({ unit }) => unit)).toEqual(["BYTES", "INODES"]);
    expect(Number(stats.usage[0]?.total)).toBeGreaterThan(Number(stats.usage[0]?.available));
    expect(stats.volume_condition.abnormal).toBe(false);
    for (const path of ["relative", "/", subject.kubeletRoot, `${target}x`, join(target, "in", "it")]) {
      expect([path, await code("NodeGetVolumeStats", at(path))]).toEqual([path, "NOT_FOUND"]);
    }
    await mounts.unmount(staging_target_path);
    const after = await call<Stats>("Node", "NodeGetVolumeStats", at(target));
    expect(after.volume_condition).toMatchObject({
      abnormal: true,
      message: expect.stringMatching(/not staged/),
    });
  });

  test("tell that a volume has lost its record while a pod uses it", async () => {
    const [id, target] = [await create("damaged"), await subject.target("pod")];
    await publish(id, target);
    await rm(join(subject.pool, "volumes", id, "meta.json"));
    const request = { volume_id: id, volume_path: target };
    const { usage, volume_condition } = await call<Stats>("Node", "NodeGetVolumeStats", request);
    expect([usage, volume_condition.abnormal]).toEqual([[], true]);
    await unpublish(id, target);
  });
});

test("a read-only publication refuses writes beside one that takes them", async () => {
  const id = await create("shared");
  const [writer, reader] = [await subject.target("writer"), await subject.target("reader")];
  await publish(id, writer);
  await publish(id, reader, { readonly: true });
  await writeFile(join(writer, "file"), "content");
  await expect(writeFile(join(reader, "file"), "other")).rejects.toMatchObject({ code: "EROFS" });
});

describe("owner, mode and group", () => {
  test("of a class are those of the top directory", async () => {
    const parameters = { mode: "0750", uid: "1234", gid: "2345" };
    const [id, target] = [await create("owned", { parameters }), await subject.target("pod")];
    await publish(id, target);
    const { mode, uid, gid } = await stat(target);
    expect([mode & 0o7777, uid, gid]).toEqual([0o750, 1234, 2345]);
  });

  test("a pod's group gets the top directory and what is made in it, and nothing that was there before", async () => {
    const [id, target] = [
      await create("grouped", { parameters: { mode: "0700" } }),
      await subject.target("pod"),
    ];
    const data = join(subject.pool, "volumes", id, "data");
    await writeFile(join(data, "old"), "");
    await publish(id, target, { volume_capability: withGroup("4321") });
    await writeFile(join(target, "new"), "");
    const top = await stat(target);
    expect([top.mode & 0o7777, top.gid]).toEqual([0o2770, 4321]);
    expect([(await stat(join(target, "new"))).gid, (await stat(join(target, "old"))).gid]).toEqual([4321, 0]);
    const second = publishRequest(id, await subject.target("second"), { volume_capability: withGroup("99") });
    expect(await code("NodePublishVolume", second)).toBe("FAILED_PRECONDITION");
    await unpublish(id, target);
    await publish(id, target, { volume_capability: withGroup("99") });
    expect((await stat(target)).gid).toBe(99);
  });
});

test.each([
  [{}, [], ["nosuid", "nodev"]],
  [{ noexec: "true" }, [], ["nosuid", "nodev", "noexec"]],
  [{ nosuid: "false", nodev: "false" }, [], []],
  [{ nosuid: "false" }, ["noexec", "noatime"], ["nodev", "noexec", "noatime"]],
])("a class of %j and the flags %j give %j", async (parameters, flags, expected) => {
  const id = await create("flags", { parameters });
  const target = await subject.target("pod");
  await publish(id, target, { volume_capability: capability(undefined, flags) });
  const at = (await mounts.list()).find(({ mountPoint }) => mountPoint === target);
  const known = ["nosuid", "nodev", "noexec", "noatime"];
  const inherited = (await mounts.list()).find(({ mountPoint }) => mountPoint === "/")?.options ?? [];
  const found = known.filter((flag) => at?.options.includes(flag) && !inherited.includes(flag));
  expect(found.sort()).toEqual(expected.filter((flag) => !inherited.includes(flag)).sort());
});

test("an expansion is reported as it was asked for, and a repeated or smaller one changes nothing", async () => {
  const [id, target] = [await create("grown"), await subject.target("pod")];
  await publish(id, target);
  const expand = (bytes: number) =>
    call<{ capacity_bytes: string }>("Node", "NodeExpandVolume", {
      ...{ volume_id: id, volume_path: target, capacity_range: { required_bytes: bytes } },
    });
  expect((await expand(20 * MIB)).capacity_bytes).toBe(String(20 * MIB));
  expect((await expand(20 * MIB)).capacity_bytes).toBe(String(20 * MIB));
  expect((await expand(5 * MIB)).capacity_bytes).toBe(String(20 * MIB));
  const [pool] = await subject.server.pools();
  expect(pool?.reservedBytes).toBe(20 * MIB);
  const request = { volume_id: id, volume_path: target, capacity_range: { required_bytes: 2 ** 50 } };
  expect(await code("NodeExpandVolume", request)).toBe("OUT_OF_RANGE");
});

test("who keeps a volume busy is named", async () => {
  const [id, target] = [await create("busy"), await subject.target("pod")];
  await publish(id, target);
  const held = await open(join(target, "file"), "w");
  const failure = await subject.client.refused("Node", "NodeUnpublishVolume", {
    ...{ volume_id: id, target_path: target },
  });
  expect(failure).toMatchObject({ code: "FAILED_PRECONDITION" });
  expect(failure.details).toContain(`process ${process.pid}`);
  await held.close();
  await unpublish(id, target);
});

describe("inline volumes", () => {
  const inlineId = `csi-${"ab".repeat(32)}`;
  const context = (more: object) => ({ "csi.storage.k8s.io/ephemeral": "true", ...more });
  const request = (target: string, attributes: object) =>
    publishRequest(inlineId, target, { staging_target_path: "", volume_context: context(attributes) });

  test("are made when they are published, and gone when they are unpublished", async () => {
    const target = await subject.target("pod");
    await call("Node", "NodePublishVolume", request(target, { size: "1Mi", mode: "0770" }));
    await call("Node", "NodePublishVolume", request(target, { size: "1Mi", mode: "0770" }));
    await writeFile(join(target, "file"), "content");
    expect((await subject.server.pools())[0]).toMatchObject({ volumes: 1, reservedBytes: MIB });
    await unpublish(inlineId, target);
    await unpublish(inlineId, target);
    await expect.poll(async () => (await subject.server.pools())[0]?.reservedBytes).toBe(0);
    expect(await mountsBelow(subject.kubeletRoot)).toEqual([]);
  });

  test("outlive the driver, and go with their pod when nobody unpublished them", async () => {
    const target = await subject.target("pod");
    await call("Node", "NodePublishVolume", request(target, { size: "1Mi" }));
    subject = await subject.restart();
    await subject.server.ready;
    expect((await subject.server.pools())[0]?.volumes).toBe(1);
    await mounts.unmount(target);
    await rm(join(target, ".."), { recursive: true });
    subject = await subject.restart();
    await subject.server.ready;
    expect((await subject.server.pools())[0]?.volumes).toBe(0);
  });

  test.each([
    [{}, /volume_context.size is missing/],
    [{ size: "3Mi" }, /has at most 2097152 bytes/],
    [{ size: "1Mi", onDelete: "retain" }, /volume_context.onDelete is given, but there is no such/],
    [{ size: "1Mi", nosuid: "false" }, /volume_context.nosuid/],
  ])("with the attributes %j are refused", async (attributes, message) => {
    const target = await subject.target("pod");
    const failure = await subject.client.refused("Node", "NodePublishVolume", request(target, attributes));
    expect(failure).toEqual({ code: "INVALID_ARGUMENT", details: expect.stringMatching(message) });
  });
});

test("a pool root that others may write to is refused, with the remedy", async () => {
  await subject.server.ready;
  const path = join(subject.root, "open");
  await mkdir(path);
  await chmod(path, 0o777);
  const other = await startSubject({
    mounts: () => mounts,
    morePools: () => [`open=${path},requireMount=false`],
  });
  try {
    const status = (await other.server.pools()).find(({ name }) => name === "open");
    expect(status).toMatchObject({ state: "unavailable", reason: expect.stringMatching(/chmod/) });
  } finally {
    await other.stop();
  }
});
