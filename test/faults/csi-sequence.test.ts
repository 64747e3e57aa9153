/** What each call does to the disk, effect by effect: speed is never to be bought with a missing sync. */
import { describe, expect, test } from "vitest";
import {
  create,
  createFilled,
  createWorld,
  isReading,
  POOL,
  requests,
  SIZE,
  stagingOf,
  TARGET,
  type World,
  watch,
} from "./csi-world.ts";

const ID = "tv-gwlrxzxj-arudhc3uoswszm66h2zr6xbqdi";

async function started(): Promise<World> {
  const world = createWorld();
  await world.driver.scan();
  return world;
}

/** The effects that change something, or make a change durable; reading is free. */
async function changes(world: World, act: () => Promise<unknown>): Promise<string[]> {
  const seen: string[] = [];
  watch(world, (effect) => {
    if (effect.startsWith("before ") && !isReading(effect)) seen.push(effect.slice("before ".length));
  });
  await act();
  watch(world, undefined);
  return seen.map((effect) => effect.replaceAll(POOL, "POOL"));
}

describe("the sequence of effects", () => {
  test("of the first start makes the identity durable before it is expected", async () => {
    const world = createWorld();
    const seen = await changes(world, () => world.driver.scan());
    const at = (effect: string) => seen.indexOf(effect);
    expect(at("file.sync POOL/.pool/.pool.json.tmp")).toBeGreaterThan(
      at("file.create POOL/.pool/.pool.json.tmp"),
    );
    expect(at("file.sync POOL")).toBeGreaterThan(
      at("file.rename POOL/.pool/.pool.json.tmp -> POOL/.pool/pool.json"),
    );
    expect(at("file.sync /disk")).toBeGreaterThan(at("file.sync POOL"));
    expect(at("file.create /state/pools/.default.json.tmp")).toBeGreaterThan(at("file.sync /disk"));
    expect(
      seen.at(seen.indexOf("file.rename /state/pools/.default.json.tmp -> /state/pools/default.json") + 1),
    ).toBe("file.sync /state/pools");
  });

  test("of CreateVolume builds in staging, syncs all of it, renames, and syncs the directory", async () => {
    const world = await started();
    expect(await changes(world, () => create(world, "one"))).toEqual([
      `file.mkdir POOL/.pool/staging/${ID}`,
      `file.mkdir POOL/.pool/staging/${ID}/data`,
      `file.create POOL/.pool/staging/${ID}/meta.json`,
      `file.sync POOL/.pool/staging/${ID}/data`,
      `file.sync POOL/.pool/staging/${ID}/meta.json`,
      `file.sync POOL/.pool/staging/${ID}`,
      `file.rename POOL/.pool/staging/${ID} -> POOL/volumes/${ID}`,
      "file.sync POOL/volumes",
    ]);
  });

  test("of a repeated CreateVolume syncs the directory: the first may have failed before it did", async () => {
    const world = await started();
    await create(world, "one");
    expect(await changes(world, () => create(world, "one"))).toEqual(["file.sync POOL/volumes"]);
  });

  test("of DeleteVolume renames into the trash and syncs both directories before it answers", async () => {
    const world = await started();
    const id = await createFilled(world, "one");
    const seen = await changes(world, () => world.call("Controller.DeleteVolume", { volume_id: id }));
    const entry = expect.stringMatching(
      new RegExp(`^file.rename POOL/volumes/${id} -> POOL/.pool/trash/${id}\\.\\d+\\.00000000$`),
    );
    expect(seen.slice(0, 3)).toEqual([entry, "file.sync POOL/volumes", "file.sync POOL/.pool/trash"]);
  });

  test("of the removal after it begins when both directories have been synced, and not before", async () => {
    const world = await started();
    const id = await createFilled(world, "one");
    const seen = await changes(world, async () => {
      await world.call("Controller.DeleteVolume", { volume_id: id });
      await world.settled();
    });
    expect(seen.slice(1, 4)).toEqual([
      "file.sync POOL/volumes",
      "file.sync POOL/.pool/trash",
      expect.stringContaining("file.remove POOL/.pool/trash/"),
    ]);
  });

  test("of the removal of what another process deleted syncs the rename before anything is unlinked", async () => {
    const world = await started();
    const id = await createFilled(world, "one");
    await world.files.rename(`${POOL}/volumes/${id}`, `${POOL}/.pool/trash/${id}.1.a`);
    const absent = () => world.call("Controller.DeleteVolume", { volume_id: id });
    const seen = await changes(world, async () => {
      await absent();
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    });
    const removal = seen.findIndex((effect) => effect.startsWith("file.remove POOL/.pool/trash/"));
    expect(seen.slice(0, removal)).toEqual([
      ...["file.sync POOL/volumes", "file.sync POOL/volumes", "file.sync POOL/snapshots"],
      "file.sync POOL/.pool/trash",
    ]);
  });

  test("of DeleteVolume for a volume that is gone syncs its absence", async () => {
    const world = await started();
    expect(await changes(world, () => world.call("Controller.DeleteVolume", { volume_id: ID }))).toEqual([
      "file.sync POOL/volumes",
    ]);
  });

  test("of stage and unstage: one mount, and it away again, and the directory is the kubelet's", async () => {
    const world = await started();
    const id = await create(world, "one");
    await world.files.mkdir(stagingOf(id), 0o750);
    const stage = async () => {
      await world.call("Node.NodeStageVolume", requests.stage(id));
      await world.call("Node.NodeStageVolume", requests.stage(id));
    };
    expect((await changes(world, stage)).at(-1)).toBe(`move_mount ${stagingOf(id)}`);
    expect(await changes(world, () => world.call("Node.NodeUnstageVolume", requests.stage(id)))).toEqual([
      `umount2 ${stagingOf(id)}`,
    ]);
  });

  test("of NodeExpandVolume replaces the record durably", async () => {
    const world = await started();
    const id = await create(world, "one");
    const record = `POOL/volumes/${id}`;
    const expand = () => world.call("Node.NodeExpandVolume", requests.expand(id, 2 * SIZE));
    expect(await changes(world, expand)).toEqual([
      `file.unlink ${record}/.meta.json.tmp`,
      `file.create ${record}/.meta.json.tmp`,
      `file.sync ${record}/.meta.json.tmp`,
      `file.rename ${record}/.meta.json.tmp -> ${record}/meta.json`,
      `file.sync ${record}`,
    ]);
  });

  test("of publish and unpublish: one directory, one mount, and both away again", async () => {
    const world = await started();
    const id = await create(world, "one");
    const publish = requests.publish(id, TARGET);
    const twice = async () => {
      await world.call("Node.NodePublishVolume", publish);
      await world.call("Node.NodePublishVolume", publish);
    };
    await world.call("Node.NodeStageVolume", requests.stage(id));
    expect(await changes(world, twice)).toEqual([`file.mkdir ${TARGET}`, `move_mount ${TARGET}`]);
    expect(await changes(world, () => world.call("Node.NodeUnpublishVolume", publish))).toEqual([
      `umount2 ${TARGET}`,
      `file.rmdir ${TARGET}`,
    ]);
  });
});
