import { describe, expect, test } from "vitest";
import {
  built,
  createImageWorld,
  MIB,
  place,
  requireWhole,
  SIZE,
  withSize,
} from "../../../test/faults/image-world.ts";
import { imageOf } from "./image/content.ts";

const options = { signal: new AbortController().signal, onProgress: () => undefined };

describe("an image that cannot be made", () => {
  test.each([
    ["xfs below its least size", { fsType: "xfs", sizeBytes: 299 * MIB }, "range", /at least 300 MiB/],
    ["btrfs below its least size", { fsType: "btrfs", sizeBytes: 255 * MIB }, "range", /at least 256 MiB/],
    ["a file system that images do not have", { fsType: "ntfs" }, "unsupported", /use ext4, xfs or btrfs/],
    [
      "a number of inodes where there is none",
      { fsType: "xfs", sizeBytes: 300 * MIB, inodes: 7 },
      "invalid",
      /parameters\.inodes/,
    ],
    ["a number of inodes of what is raw", { access: "block", inodes: 7 }, "invalid", /parameters\.inodes/],
  ] as const)("%s is refused, and nothing is made", async (_, fields, kind, message) => {
    const world = createImageWorld();
    const volume = await place(world, "new", fields);
    const refused = expect(world.backend.build(volume)).rejects;
    await refused.toMatchObject({ kind, message: expect.stringMatching(message) });
    expect(await world.files.list(volume.wrapper)).toEqual([]);
  });
});

describe("a volume", () => {
  test("has as many inodes as its class says", async () => {
    const world = createImageWorld();
    const volume = await built(world, "new", { inodes: 1234 });
    expect(world.images.peek(imageOf(volume)).fileSystem?.inodes).toBe(1234);
  });

  test("that is raw has no file system, and blocks of 512 bytes for ever", async () => {
    const world = createImageWorld();
    const volume = await built(world, "raw", { access: "block" });
    expect(volume.record.fsType).toBeUndefined();
    expect(world.images.peek(imageOf(volume)).fileSystem).toBeUndefined();
    expect(await world.backend.attach(volume)).toEqual({ kind: "block", device: "/dev/loop0" });
    expect(world.loops.devices.get("/dev/loop0")).toMatchObject({ blockSize: 512, discard: false });
  });

  test("of a sparse pool has no space of its own, gives back what is discarded, and the pool says so", async () => {
    const world = createImageWorld({ preallocate: false });
    const volume = await built(world, "new");
    expect(world.images.peek(imageOf(volume)).reservedBytes).toBe(0);
    await world.backend.attach(volume);
    expect(world.loops.devices.get("/dev/loop0")).toMatchObject({ blockSize: 4096, discard: true });
    expect(world.backend.how).toContain("sparse");
  });

  test("is repaired before it is shown, once, and only if it was not unmounted properly", async () => {
    const world = createImageWorld();
    const volume = await built(world, "new");
    const repairs: string[] = [];
    world.watch((effect) => effect.startsWith("before fs.repair") && repairs.push(effect));
    await world.backend.attach(volume);
    expect(repairs).toEqual([]);
    await world.backend.detach(volume);
    world.images.poke(imageOf(volume), { clean: false });
    await world.backend.attach(volume);
    await world.backend.attach(volume);
    expect(repairs).toHaveLength(1);
  });

  test("that holds something else than its record says is not shown", async () => {
    const world = createImageWorld();
    const volume = await built(world, "new");
    world.images.poke(imageOf(volume), { fsType: "btrfs" });
    await expect(world.backend.attach(volume)).rejects.toMatchObject({ kind: "precondition" });
    expect(world.loops.devices.size).toBe(0);
  });

  test("that is mounted is neither detached nor taken apart, and is grown nowhere but where it is mounted", async () => {
    const world = createImageWorld();
    const volume = await built(world, "new");
    await world.backend.attach(volume);
    await world.mount("/dev/loop0");
    for (const attempt of [
      () => world.backend.detach(volume),
      () => world.backend.dismantle(volume.wrapper),
    ]) {
      await expect(attempt()).rejects.toMatchObject({
        kind: "precondition",
        message: expect.stringMatching("/target"),
      });
    }
    const grown = withSize(volume, 2 * SIZE);
    await expect(world.backend.grow(grown, "/pool")).rejects.toMatchObject({ kind: "precondition" });
    await world.backend.grow(grown, "/target");
    expect(world.images.peek(imageOf(volume)).fileSystem?.sizeBytes).toBe(2 * SIZE);
  });

  test("of which somebody else has a copy of the mount is detached for us, and found when it is wanted again", async () => {
    const world = createImageWorld();
    const volume = await built(world, "new");
    await world.backend.attach(volume);
    world.loops.busy.add("/dev/loop0");
    await world.backend.detach(volume);
    await expect(world.backend.dismantle(volume.wrapper)).rejects.toMatchObject({ kind: "precondition" });
    expect(await world.backend.attach(volume)).toMatchObject({ device: "/dev/loop0" });
    expect(world.loops.devices.size).toBe(1);
  });
});

describe("what is wrong with a volume", () => {
  test.each([
    ["its image is missing", "is missing", (world, image) => world.files.unlink(image)],
    [
      "its image is something else",
      "is no file (directory)",
      async (world, image) => {
        await world.files.unlink(image);
        await world.files.mkdir(image, 0o700);
      },
    ],
    [
      "its file system became read-only",
      "met an error",
      async (world) => {
        world.mounts.add({
          mountPoint: "/target",
          source: "/dev/loop0",
          options: ["rw"],
          superOptions: ["ro"],
        });
      },
    ],
  ] as readonly (readonly [
    string,
    string,
    (world: ReturnType<typeof createImageWorld>, image: string) => Promise<void>,
  ])[])("is told: %s", async (_, message, spoil) => {
    const world = createImageWorld();
    const volume = await built(world, "new");
    await world.backend.attach(volume);
    expect(await world.backend.problem(volume)).toBeUndefined();
    await spoil(world, imageOf(volume));
    expect(await world.backend.problem(volume)).toContain(message);
  });

  test("is told: its image is smaller than its record says, until its pool is opened again", async () => {
    const world = createImageWorld();
    const volume = withSize(await built(world, "new"), 2 * SIZE);
    expect(await world.backend.problem(volume)).toContain("expand");
    await world.backend.reinstate(volume);
    expect(await world.backend.problem(volume)).toBeUndefined();
  });

  test("is told by an error wherever the volume is used, where its image is gone", async () => {
    const world = createImageWorld();
    const volume = await built(world, "new");
    await world.files.unlink(imageOf(volume));
    for (const attempt of [() => world.backend.reinstate(volume), () => world.backend.attach(volume)]) {
      await expect(attempt()).rejects.toMatchObject({ kind: "precondition" });
    }
  });
});

describe("a copy", () => {
  test.each([
    ["smaller than its original", { sizeBytes: SIZE / 2 }, "range"],
    ["raw, of one that is mounted", { access: "block" }, "precondition"],
    ["with another number of inodes than its original has", { inodes: 7 }, "invalid"],
  ] as const)("is not made %s", async (_, fields, kind) => {
    const world = createImageWorld();
    const from = await built(world, "from");
    const copy = await place(world, "copy", fields);
    await expect(world.backend.copy(copy, from, options)).rejects.toMatchObject({ kind });
    expect(await world.files.list(copy.wrapper)).toEqual([]);
  });

  /** An attached original that shows in no mount of ours, on a disk that cannot share. */
  async function hiddenOriginal() {
    const world = createImageWorld();
    const from = await built(world, "from", { owner: { mode: 0o1770, uid: 1, gid: 2 } });
    await world.backend.attach(from);
    return { world, from, copy: await place(world, "copy") };
  }

  test("of what another mount namespace still shows is refused where it would take more than a moment", async () => {
    const { world, from, copy } = await hiddenOriginal();
    world.loops.busy.add("/dev/loop0");
    await expect(world.backend.copy(copy, from, options)).rejects.toMatchObject({
      kind: "precondition",
      message: expect.stringContaining("still in use on /dev/loop0"),
    });
    expect(await world.files.list(copy.wrapper)).toEqual([]);
  });

  test("of what a crash left attached is made, when it has been detached", async () => {
    const { world, from, copy } = await hiddenOriginal();
    await world.backend.copy(copy, from, options);
    requireWhole(world, copy);
    expect(world.loops.devices.size).toBe(0);
  });
});
