/**
 * Calls with odd content, in odd order, or while half of the node is away: what kubelets, sidecars, class authors and
 * pods can do that no life cycle has. Each of these went wrong once.
 */
import { describe, expect, test } from "vitest";
import type { PoolConfig } from "../../src/csi/pool/config.ts";
import { errnoError } from "../../src/host/errno.ts";
import { createLog } from "../../src/observe/log.ts";
import {
  create,
  createWorld,
  INLINE_ID,
  mount,
  POOL,
  requests,
  restart,
  SIZE,
  stagingOf,
  TARGET,
  type World,
} from "./csi-world.ts";

const OTHER = "/kubelet/pods/b/mount";
const GIB = 2 ** 30;

async function started(changes: Parameters<typeof createWorld>[0] = {}): Promise<World> {
  const world = createWorld(changes);
  await world.driver.scan();
  return world;
}

/** Staged as the kubelet does it, which makes the directory. */
async function staged(world: World, id: string, group = ""): Promise<void> {
  if (!world.files.peek(stagingOf(id))) await world.files.mkdir(stagingOf(id), 0o750);
  await world.call("Node.NodeStageVolume", { ...requests.stage(id), volume_capability: writer(group) });
}

const writer = (group: string) => ({
  ...{ mount: { ...mount.mount, volume_mount_group: group }, block: null },
  access_mode: { mode: "SINGLE_NODE_WRITER" },
});

const publish = (world: World, id: string, target: string, group = "") =>
  world.call("Node.NodePublishVolume", {
    ...requests.publish(id, target),
    volume_capability: writer(group),
  });

const pool = (name: string, more: Partial<PoolConfig> = {}): PoolConfig => ({
  ...{ name, path: `/disk/${name}`, backend: "directory", budgetBytes: 10 * GIB, requireMount: false },
  ...more,
});

describe("GetCapacity", () => {
  test("takes the parameters of a class as external-provisioner sends them: with its own keys", async () => {
    const world = await started();
    const ask = (parameters: object) =>
      world.call<{ available_capacity: string }>("Controller.GetCapacity", {
        ...{ volume_capabilities: [], parameters, accessible_topology: null },
      });
    const secret = { "csi.storage.k8s.io/provisioner-secret-name": "x" };
    expect((await ask(secret)).available_capacity).toBe(String(10 * GIB));
    // No pool here makes file systems.
    expect((await ask({ "csi.storage.k8s.io/fstype": "xfs" })).available_capacity).toBe("0");
  });
});

describe("a group", () => {
  test("of a second pod is refused also when the staging mount was lost meanwhile", async () => {
    const world = await started();
    const id = await create(world, "one");
    await staged(world, id, "1000");
    await publish(world, id, TARGET, "1000");
    await world.mounts.unmount(stagingOf(id));
    await expect(publish(world, id, OTHER, "2000")).rejects.toMatchObject({ kind: "precondition" });
    expect(world.files.peek(stagingOf(id))?.gid).toBe(1000);
  });

  test("of an inline volume is given by the retry, where the first attempt died after its mount", async () => {
    const world = await started();
    const request = { ...requests.publishInline(TARGET), volume_capability: writer("1000") };
    world.files.onEffect = (op, _, when) => {
      if (op === "file.setgroup" && when === "before") world.files.halt();
    };
    await expect(world.call("Node.NodePublishVolume", request)).rejects.toThrow();
    const next = await restart(world, "everything");
    await next.call("Node.NodePublishVolume", request);
    expect(next.files.peek(TARGET)?.gid).toBe(1000);
  });
});

describe("an inline volume", () => {
  const unpublish = (world: World) =>
    world.call("Node.NodeUnpublishVolume", { volume_id: INLINE_ID, target_path: TARGET });

  test("is unpublished while its pool is away, and removed when that is back", async () => {
    const world = await started();
    await world.call("Node.NodePublishVolume", requests.publishInline(TARGET));
    await world.files.rename(`${POOL}/.pool/pool.json`, "/disk/pool.json");
    await unpublish(world);
    expect(world.files.peek(TARGET)).toBeUndefined();
  });

  test("is unpublished also when its record cannot be read; that it stays is told", async () => {
    const world = await started();
    await world.call("Node.NodePublishVolume", requests.publishInline(TARGET));
    const [volume] = await world.files.list(`${POOL}/volumes`);
    await world.files.unlink(`${POOL}/volumes/${volume?.name}/meta.json`);
    await expect(unpublish(world)).rejects.toMatchObject({ kind: "precondition" });
    expect(world.files.peek(TARGET)).toBeUndefined();
  });

  test("that cannot be published is not left behind: the kubelet may never unpublish it", async () => {
    const world = await started();
    await world.files.mkdir(TARGET, 0o750);
    await world.files.create(`${TARGET}/left`, Buffer.alloc(0), 0o600);
    const publishing = world.call("Node.NodePublishVolume", requests.publishInline(TARGET));
    await expect(publishing).rejects.toMatchObject({ kind: "precondition" });
    expect(await world.files.list(`${POOL}/volumes`)).toEqual([]);
  });

  test("gets no room in a pool that is kept for classes that name it", async () => {
    const world = await started({ pools: [pool("default"), pool("fast", { onlyNamed: true })] });
    const request = requests.publishInline(TARGET);
    const volume_context = { ...request.volume_context, pool: "fast" };
    const publishing = world.call("Node.NodePublishVolume", { ...request, volume_context });
    await expect(publishing).rejects.toMatchObject({ kind: "invalid" });
    expect(await world.files.list("/disk/fast/volumes")).toEqual([]);
  });

  test("stays while the kubelet's directory is away, such as a disk that is mounted later", async () => {
    const world = await started();
    await world.call("Node.NodePublishVolume", requests.publishInline(TARGET));
    await world.mounts.unmount(TARGET);
    await world.files.rename("/kubelet/pods", "/kubelet/elsewhere");
    const next = await restart(world, "everything");
    expect(await next.files.list(`${POOL}/volumes`)).toHaveLength(1);
  });

  test("is refused without repeating what its attributes hold", async () => {
    const lines: string[] = [];
    const log = createLog("node", "debug", { write: (line) => void lines.push(line) });
    const world = await started({ log });
    const request = requests.publishInline(TARGET);
    const volume_context = { ...request.volume_context, password: "hunter2" };
    const publishing = world.call("Node.NodePublishVolume", { ...request, volume_context });
    await expect(publishing).rejects.toThrow("volume_context.password");
    expect(lines.join("")).not.toContain("hunter2");
  });
});

describe("a link by name", () => {
  test("is not made through the link of another volume", async () => {
    const world = await started();
    const one = await create(world, "one", { namePattern: "team" });
    await create(world, "two", { namePattern: "team/data/two" });
    expect(await world.files.list(`${POOL}/volumes/${one}/data`)).toEqual([]);
  });
});

describe("a volume", () => {
  test("is not made a second time beside the one in a pool that went away", async () => {
    const world = await started({ pools: [pool("a"), pool("b")], poolChoice: "round-robin" });
    await create(world, "one");
    await world.files.rename("/disk/a/.pool/pool.json", "/disk/pool.json");
    await expect(create(world, "one")).rejects.toMatchObject({ kind: "unavailable" });
    expect(await world.files.list("/disk/b/volumes")).toEqual([]);
  });

  test("is not made a second time in another pool when the first is there after all", async () => {
    const world = await started({ pools: [pool("a"), pool("b")], poolChoice: "round-robin" });
    world.files.onEffect = (op, path, when) => {
      if (op === "file.sync" && path === "/disk/a/volumes" && when === "before") {
        throw errnoError("ENOSPC", op, path);
      }
    };
    await expect(create(world, "one")).rejects.toMatchObject({ kind: "exhausted" });
    world.files.onEffect = undefined;
    expect(await world.files.list("/disk/b/volumes")).toEqual([]);
  });

  test("whose record was repaired is counted once again", async () => {
    const world = await started();
    const id = await create(world, "one");
    const path = `${POOL}/volumes/${id}/meta.json`;
    const record = await world.files.read(path);
    await world.files.unlink(path);
    await world.files.create(path, record.subarray(0, 80), 0o600);
    const next = await restart(world, "everything");
    expect(await next.settled()).toMatchObject({ volumes: 0, quarantined: [id] });
    await next.files.unlink(path);
    await next.files.create(path, record, 0o600);
    await create(next, "one");
    expect(await next.settled()).toMatchObject({ volumes: 1, quarantined: [], reservedBytes: SIZE });
    await next.call("Controller.DeleteVolume", { volume_id: id });
    expect(await next.settled()).toMatchObject({ volumes: 0, reservedBytes: 0 });
  });

  test("whose record cannot be read is listed with that, beside the others", async () => {
    const world = await started();
    const [one, two] = [await create(world, "one"), await create(world, "two")];
    world.files.onEffect = (op, path) => {
      if (op === "file.read" && path.includes(one)) throw errnoError("EIO", op, path);
    };
    const { entries } = await world.call<{ entries: { volume: { volume_id: string }; status: object }[] }>(
      "Controller.ListVolumes",
      { max_entries: 0, starting_token: "" },
    );
    expect(entries.map(({ volume }) => volume.volume_id).sort()).toEqual([one, two].sort());
    expect(entries.find(({ volume }) => volume.volume_id === one)).toMatchObject({
      status: { volume_condition: { abnormal: true } },
    });
  });

  test("stays staged when its disk is made read-only: the kubelet asks again at every start", async () => {
    const world = await started();
    const id = await create(world, "one");
    await staged(world, id);
    world.mounts.add({ mountPoint: "/disk", root: "/disk", options: ["ro", "relatime"] });
    await staged(world, id);
  });

  test("is not taken for one of another backend", async () => {
    const world = await started();
    await create(world, "one", { backend: "directory" });
    await expect(create(world, "one", { backend: "quota" })).rejects.toMatchObject({ kind: "conflict" });
  });

  test("cannot have a name that is no text: two such names would be one", async () => {
    const world = await started();
    await expect(create(world, "pvc-\ud800")).rejects.toMatchObject({ kind: "invalid" });
  });

  test.each(["most-free", "least-used"] as const)(
    "is made in another pool when nobody can tell what room the first has (%s)",
    async (poolChoice) => {
      const world = await started({ pools: [pool("a"), pool("b")], poolChoice });
      world.files.limitSpace = (path, whole) => {
        if (path.startsWith("/disk/a/")) throw errnoError("EIO", "file.space", path);
        return whole;
      };
      await create(world, "one");
      expect(await world.files.list("/disk/b/volumes")).toHaveLength(1);
      const capacity = await world.call("Controller.GetCapacity", {
        ...{ volume_capabilities: [], parameters: {}, accessible_topology: null },
      });
      expect(capacity).toMatchObject({ available_capacity: String(10 * GIB - SIZE) });
    },
  );

  test("that is kept for ever is listed as any other", async () => {
    const world = await started();
    const id = await create(world, "one", { onDelete: "trash", trashRetention: "999999999d" });
    await world.call("Controller.DeleteVolume", { volume_id: id });
    expect(await world.driver.admin.volumes()).toMatchObject([{ id, state: "trash" }]);
  });
});
