/**
 * Fault sweep of image volumes. Every operation is stopped at each of its effects, before and after it: the effect fails,
 * or the process is killed, or the power is cut. Then the operation is repeated, and the volume is taken away: it must be
 * whole then, and no loop device, no mark and no half of an image may be left.
 */
import { describe, expect, test } from "vitest";
import type { PlacedVolume } from "../../src/csi/backend/backend.ts";
import { errnoError } from "../../src/host/errno.ts";
import type { Survival } from "../fakes/files.ts";
import {
  built,
  createImageWorld,
  type ImageWorld,
  place,
  requireRemovable,
  requireWhole,
  SIZE,
  withSize,
} from "./image-world.ts";

const owner = { mode: 0o1770, uid: 1, gid: 2 };
const LARGER = 2 * SIZE;

interface Scenario {
  readonly title: string;
  /** Gives the volume that it is about, and another that it needs. */
  prepare(world: ImageWorld): Promise<{ readonly volume: PlacedVolume; readonly from?: PlacedVolume }>;
  act(world: ImageWorld, volume: PlacedVolume, from: PlacedVolume | undefined): Promise<unknown>;
  /** What must hold after it was repeated to its end. */
  requireDone(world: ImageWorld, volume: PlacedVolume): Promise<void>;
  /** Whether what is there is thrown away before it is repeated, as everything in `staging` is. */
  readonly fromScratch: boolean;
}

const copyOptions = { signal: new AbortController().signal, onProgress: () => undefined };
const deviceOf = async (world: ImageWorld, volume: PlacedVolume) => {
  const source = await world.backend.attached(volume);
  return source?.kind === "filesystem" ? source.device : undefined;
};

const scenarios: readonly Scenario[] = [
  {
    title: "build",
    fromScratch: true,
    prepare: async (world) => ({ volume: await place(world, "new", { owner }) }),
    act: (world, volume) => world.backend.build(volume),
    requireDone: async (world, volume) => requireWhole(world, volume),
  },
  {
    title: "attach of what was to grow and was not unmounted properly",
    fromScratch: false,
    async prepare(world) {
      const volume = await built(world, "old", { owner });
      world.images.poke(`${volume.wrapper}/disk.img`, { clean: false });
      world.files.settle();
      return { volume: withSize(volume, LARGER) };
    },
    act: (world, volume) => world.backend.attach(volume),
    async requireDone(world, volume) {
      requireWhole(world, volume, LARGER);
      expect([...world.loops.devices.values()].map(({ sizeBytes }) => sizeBytes)).toEqual([LARGER]);
      expect(await deviceOf(world, volume)).toBe("/dev/loop0");
    },
  },
  {
    title: "growth while it is attached nowhere",
    fromScratch: false,
    prepare: async (world) => ({ volume: withSize(await built(world, "old", { owner }), LARGER) }),
    act: (world, volume) => world.backend.grow(volume, undefined),
    requireDone: async (world, volume) => requireWhole(world, volume, LARGER),
  },
  {
    title: "detach",
    fromScratch: false,
    async prepare(world) {
      const volume = await built(world, "old", { owner });
      await world.backend.attach(volume);
      return { volume };
    },
    act: (world, volume) => world.backend.detach(volume),
    requireDone: async (world, volume) => expect(await world.backend.attached(volume)).toBeUndefined(),
  },
  {
    title: "copy to a larger volume",
    fromScratch: true,
    async prepare(world) {
      const from = await built(world, "from", { owner });
      return { from, volume: await place(world, "copy", { owner, sizeBytes: LARGER }) };
    },
    async act(world, volume, from) {
      if (from) await world.backend.copy(volume, from, copyOptions);
    },
    async requireDone(world, volume) {
      requireWhole(world, volume, LARGER);
      const ids = ["/pool/from", volume.wrapper].map(
        (at) => world.images.peek(`${at}/disk.img`).fileSystem?.id,
      );
      expect(new Set(ids).size).toBe(2);
    },
  },
];

async function prepare(scenario: Scenario, canGrowMounted: boolean) {
  const world = createImageWorld({ canGrowMounted });
  const prepared = await scenario.prepare(world);
  world.files.settle();
  return { world, ...prepared };
}

type Prepared = Awaited<ReturnType<typeof prepare>>;

/** Acts with `at` called at its n-th event; gives the events. */
async function actWith(scenario: Scenario, { world, volume, from }: Prepared, n: number, at: () => void) {
  const events: string[] = [];
  world.watch((effect) => {
    if (events.push(effect) === n + 1) at();
  });
  const done = await scenario.act(world, volume, from).then(
    () => true,
    () => false,
  );
  world.watch(undefined);
  return { done, events };
}

/** The operation is repeated as its callers do, and then everything is taken away. */
async function repeat(scenario: Scenario, world: ImageWorld, { volume, from }: Prepared): Promise<void> {
  if (scenario.fromScratch) {
    await world.backend.dismantle(volume.wrapper);
    await world.files.removeTree(volume.wrapper);
    expect([...world.loops.devices.keys()]).toEqual([]);
    await world.files.mkdir(volume.wrapper, 0o700);
  }
  await scenario.act(world, volume, from);
  await scenario.requireDone(world, volume);
  await world.files.sync(volume.wrapper);
  await world.files.sync("/pool");
  const after = world.restart("synced"); // what was promised was on the disk
  if (scenario.title !== "detach" && !scenario.title.startsWith("attach"))
    await scenario.requireDone(after, volume);
  if (from) await requireRemovable(after, from);
  await requireRemovable(after, volume);
}

const crashes: readonly (readonly [string, Survival])[] = [
  ["the process is killed", "everything"],
  ["the power is cut and only what was synced is left", "synced"],
];

const runs = scenarios.flatMap((scenario) => [
  { ...scenario, canGrowMounted: true },
  ...(scenario.title.includes("grow") ? [{ ...scenario, canGrowMounted: false }] : []),
]);

describe.each(runs)(
  "$title (a mounted ext4 may grow: $canGrowMounted)",
  ({ canGrowMounted, ...scenario }) => {
    const eventsOf = async () => {
      const { done, events } = await actWith(
        scenario,
        await prepare(scenario, canGrowMounted),
        -1,
        () => undefined,
      );
      expect(done).toBe(true);
      return events;
    };

    test("is whole whichever of its effects fails, before or after it happened", async () => {
      for (const n of (await eventsOf()).keys()) {
        const prepared = await prepare(scenario, canGrowMounted);
        await actWith(scenario, prepared, n, () => {
          throw errnoError("EIO", "injected", `event ${n}`);
        });
        // A device whose release was reported as failed has gone, or goes with the process.
        for (const [path, { held }] of prepared.world.loops.devices) {
          if (held) await prepared.world.loops.detach(await imageOn(prepared, path));
        }
        await repeat(scenario, prepared.world, prepared);
      }
    });

    test.each(crashes)("is whole when %s at any of its effects", async (_, survival) => {
      for (const n of (await eventsOf()).keys()) {
        const prepared = await prepare(scenario, canGrowMounted);
        await actWith(scenario, prepared, n, () => prepared.world.halt());
        const next = prepared.world.restart(survival);
        expect([...next.loops.devices.values()].filter(({ held }) => held)).toEqual([]);
        await repeat(scenario, next, prepared);
      }
    });
  },
);

async function imageOn({ world, volume, from }: Prepared, path: string): Promise<string> {
  for (const { wrapper } of [volume, ...(from ? [from] : [])]) {
    const image = `${wrapper}/disk.img`;
    if ((await world.loops.find(image).catch(() => undefined))?.path === path) return image;
  }
  throw new Error(`nothing is known on ${path}`);
}

describe("a copy of a mounted volume", () => {
  const mounted = async (world: ImageWorld) => {
    const from = await built(world, "from", { owner });
    const source = await world.backend.attach(from);
    if (source.kind !== "filesystem") throw new Error("no file system");
    await world.mount(source.device);
    return from;
  };

  test("leaves no writer standing, wherever it fails or its process is killed", async () => {
    const counted = createImageWorld();
    const from = await mounted(counted);
    const events: string[] = [];
    const copy = await place(counted, "copy", { owner });
    counted.watch((event) => events.push(event));
    await counted.backend.copy(copy, from, copyOptions);
    counted.watch(undefined);
    expect(counted.freezer.frozen.size).toBe(0);
    expect(await counted.files.list(from.wrapper)).toEqual([{ name: "disk.img", kind: "file" }]);
    for (const n of events.keys()) {
      const world = createImageWorld();
      const source = await mounted(world);
      const target = await place(world, "copy", { owner });
      let count = 0;
      let wasFrozen = false;
      world.watch(() => {
        if (count++ !== n) return;
        wasFrozen = world.freezer.frozen.size > 0;
        world.halt();
      });
      await world.backend.copy(target, source, copyOptions).catch(() => undefined);
      const after = world.restart("everything");
      if (wasFrozen) after.freezer.frozen.add("/target"); // nobody was left to thaw it
      await after.backend.reinstate(source);
      expect(after.freezer.frozen.size).toBe(0);
      expect((await after.files.list(source.wrapper)).map(({ name }) => name)).toEqual(["disk.img"]);
    }
  });

  test("is refused, with what would help, where it takes too long", async () => {
    const world = createImageWorld();
    const from = await mounted(world);
    const copy = await place(world, "copy");
    world.freezer.whileFrozen = async () => {
      throw errnoError("ETIMEDOUT", "freeze", "/target");
    };
    await expect(world.backend.copy(copy, from, copyOptions)).rejects.toMatchObject({
      kind: "precondition",
      message: expect.stringContaining("XFS or btrfs"),
    });
  });
});
