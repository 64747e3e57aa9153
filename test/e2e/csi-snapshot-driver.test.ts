/** Snapshots, restores and clones of volumes in use, behind the real socket, where they have to be of one moment. */
import { execFileSync } from "node:child_process";
import { mkdir, open, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createMounts } from "../../src/host/mount.ts";
import { createSyscalls } from "../../src/host/syscall.ts";
import { capability, createRequest, MIB, publishRequest, type Volume } from "../conformance/csi/requests.ts";
import { type Subject, startSubject } from "../conformance/csi/subject.ts";
import { createLoopDisk, type LoopDisk } from "./support/loop-disk.ts";

const SIZE = 64 * MIB;
const mounts = createMounts(createSyscalls());

interface Snapshot {
  readonly snapshot_id: string;
  readonly size_bytes: string;
  readonly ready_to_use: boolean;
}

describe.each([
  { name: "an image pool on ext4", disk: "ext4", settings: ",backend=image,budget=1Gi" },
  { name: "an image pool on XFS", disk: "xfs", settings: ",backend=image,budget=1Gi" },
  { name: "a btrfs pool", disk: "btrfs", settings: ",backend=quota,budget=1Gi" },
])("$name (needs root)", (pool) => {
  let disk: LoopDisk;
  let subject: Subject;

  beforeEach(async () => {
    disk = createLoopDisk(pool.disk, 512);
    if (pool.disk === "btrfs") execFileSync("btrfs", ["quota", "enable", disk.path]);
    const root = join(disk.path, "test");
    await mkdir(root);
    subject = await startSubject({ root, mounts: () => mounts, settings: pool.settings });
  });
  afterEach(async () => {
    for (const { mountPoint } of [...(await mounts.list())].reverse()) {
      if (mountPoint.startsWith(`${subject.root}/`)) await mounts.unmount(mountPoint);
    }
    await subject.stop();
    disk.remove();
  });

  const call = <T>(method: string, request: object) =>
    subject.client.call<T>(method.startsWith("Node") ? "Node" : "Controller", method, request);
  const create = async (name: string, bytes: number, source?: object): Promise<Volume> => {
    const changes = { capacity_range: { required_bytes: bytes }, volume_content_source: source };
    return (await call<{ volume: Volume }>("CreateVolume", createRequest(name, changes))).volume;
  };
  const cut = async (source_volume_id: string): Promise<Snapshot> =>
    (await call<{ snapshot: Snapshot }>("CreateSnapshot", { name: "cut", source_volume_id })).snapshot;
  const availableBytes = async () =>
    Number((await call<{ available_capacity: string }>("GetCapacity", {})).available_capacity);

  /** As the kubelet does it; gives the path that the pod sees. */
  const show = async ({ volume_id }: Volume): Promise<string> => {
    const target = await subject.target(volume_id);
    const request = publishRequest(volume_id, target);
    const staging_target_path = String(Reflect.get(request, "staging_target_path"));
    await mkdir(staging_target_path, { recursive: true });
    await call("NodeStageVolume", { volume_id, staging_target_path, volume_capability: capability() });
    await call("NodePublishVolume", request);
    return target;
  };
  const hide = async ({ volume_id }: Volume) => {
    const target_path = await subject.target(volume_id);
    const staging_target_path = String(
      Reflect.get(publishRequest(volume_id, target_path), "staging_target_path"),
    );
    await call("NodeUnpublishVolume", { volume_id, target_path });
    await call("NodeUnstageVolume", { volume_id, staging_target_path });
  };

  /** Counts in two files, the first always ahead; a copy of one moment has them at most one apart. */
  const countIn = async (directory: string) => {
    const files = [await open(join(directory, "first"), "w"), await open(join(directory, "second"), "w")];
    let [count, isOver] = [0, false];
    const counting = (async () => {
      while (!isOver) {
        count += 1;
        for (const file of files) await file.write(String(count).padStart(12, "0"), 0);
      }
      for (const file of files) await file.close();
    })();
    return async () => {
      isOver = true;
      await counting;
      return count;
    };
  };
  const countsIn = async (directory: string): Promise<number[]> =>
    Promise.all(
      ["first", "second"].map(async (name) => Number(await readFile(join(directory, name), "utf8"))),
    );

  test("a snapshot of a volume that is written to is of one moment, and outlives it", async () => {
    const before = await availableBytes();
    const volume = await create("source", SIZE);
    const path = await show(volume);
    await writeFile(join(path, "kept"), "content");
    const stop = await countIn(path);
    while ((await countsIn(path))[1] === 0) await new Promise((resolve) => setImmediate(resolve));
    const snapshot = await cut(volume.volume_id);
    const copy = await create("clone", SIZE, { volume: { volume_id: volume.volume_id } });
    const counted = await stop();
    expect(snapshot).toMatchObject({ size_bytes: String(SIZE), ready_to_use: true });
    expect(await cut(volume.volume_id)).toEqual(snapshot);
    await hide(volume);
    await call("DeleteVolume", { volume_id: volume.volume_id });
    const source = { snapshot: { snapshot_id: snapshot.snapshot_id } };
    const restored = await create("restored", 2 * SIZE, source);
    for (const made of [copy, restored]) {
      const shown = await show(made);
      expect(await readFile(join(shown, "kept"), "utf8")).toBe("content");
      const [first = 0, second = 0] = await countsIn(shown);
      expect([first - second === 0 || first - second === 1, first > 0, first <= counted]).toEqual([
        true,
        true,
        true,
      ]);
      await writeFile(join(shown, "own"), Buffer.alloc(48 * MIB, 1)); // its limit is its own
      await hide(made);
      await call("DeleteVolume", { volume_id: made.volume_id });
    }
    await call("DeleteSnapshot", { snapshot_id: snapshot.snapshot_id });
    for (const name of ["volumes", "snapshots"]) expect(await readdir(join(subject.pool, name))).toEqual([]);
    await expect.poll(availableBytes, { timeout: 20_000 }).toBeGreaterThan(before - 8 * MIB);
  });

  test("a copy that its pool has no room for is refused, and nothing is left of it", async () => {
    const volume = await create("source", SIZE);
    const source = { volume: { volume_id: volume.volume_id } };
    await expect(create("large", 1020 * MIB, source)).rejects.toMatchObject({ code: 8 });
    expect(await readdir(join(subject.pool, "volumes"))).toEqual([volume.volume_id]);
    expect(await readdir(join(subject.pool, ".pool/staging"))).toEqual([]);
  });
});
