/**
 * Fault sweep of snapshots, restores and clones: every call is stopped at each of its effects, before and after it. The
 * effect fails, or the process is killed, or the power is cut and what was not synced is lost. Then the node starts
 * again and the caller retries: no snapshot is lost, half a copy is never to be seen, and the account is right.
 */
import { describe, expect, test } from "vitest";
import { errnoError } from "../../src/host/errno.ts";
import type { Survival } from "../fakes/files.ts";
import {
  createFilled,
  createWorld,
  isReading,
  POOL,
  requests,
  restart,
  SIZE,
  type World,
  watch,
} from "./csi-world.ts";

interface SnapshotResponse {
  readonly snapshot: { readonly snapshot_id: string };
}

/** One call, with what has to be there before it and what must hold once it was acknowledged. */
interface Scenario {
  readonly title: string;
  /** Gives the volume or snapshot that the call is about. */
  prepare(world: World): Promise<string>;
  act(world: World, id: string): Promise<unknown>;
  requireDone(world: World, id: string): Promise<void>;
  /** What is there from the beginning, and must stay. */
  readonly keeps: "the volume" | "the snapshot";
}

async function snapshot(world: World, source_volume_id: string, name = "cut"): Promise<string> {
  const request = { name, source_volume_id, parameters: {} };
  const response = await world.call<SnapshotResponse>("Controller.CreateSnapshot", request);
  return response.snapshot.snapshot_id;
}

/** A volume with a tree in it, durable. */
async function fill(world: World): Promise<string> {
  const id = await createFilled(world, "source");
  const data = `${POOL}/volumes/${id}/data`;
  await world.files.mkdir(`${data}/inner`, 0o750);
  await world.files.create(`${data}/inner/more`, Buffer.from("more"), 0o640);
  world.files.settle();
  return id;
}

/** Whether the copy is whole: names, contents, modes, and the record. */
async function requireWhole(world: World, wrapper: string): Promise<void> {
  expect(String(await world.files.read(`${wrapper}/data/precious`))).toBe("source");
  expect(String(await world.files.read(`${wrapper}/data/inner/more`))).toBe("more");
  expect(await world.files.stat(`${wrapper}/data`)).toMatchObject({ mode: 0o777 });
  expect(await world.files.stat(`${wrapper}/data/inner`)).toMatchObject({ mode: 0o750 });
  expect(await world.files.stat(`${wrapper}/data/inner/more`)).toMatchObject({ mode: 0o640 });
  const record = JSON.parse(String(await world.files.read(`${wrapper}/meta.json`)));
  expect(record).toMatchObject({ id: wrapper.split("/").at(-1), sizeBytes: SIZE, pool: "default" });
}

const named = async (world: World, directory: string) =>
  (await world.files.list(`${POOL}/${directory}`)).map(({ name }) => name);

/** Everything that can be seen is whole, nothing is under construction, and every byte is accounted for once. */
async function requireSound(world: World): Promise<void> {
  const status = await world.settled();
  expect(status).toMatchObject({ state: "ready", quarantined: [], trashed: 0 });
  const [volumes, snapshots] = [await named(world, "volumes"), await named(world, "snapshots")];
  for (const id of volumes) await requireWhole(world, `${POOL}/volumes/${id}`);
  for (const id of snapshots) await requireWhole(world, `${POOL}/snapshots/${id}`);
  expect(status.reservedBytes).toBe((volumes.length + snapshots.length) * SIZE);
  expect(await named(world, ".pool/staging")).toEqual([]);
  expect(await named(world, ".pool/trash")).toEqual([]);
}

const copyFrom = (source: object) => (world: World) =>
  world.call("Controller.CreateVolume", { ...requests.create("copy"), volume_content_source: source });

async function requireCopy(world: World): Promise<void> {
  const before = await named(world, "volumes");
  const records = await Promise.all(
    before.map(async (id) => JSON.parse(String(await world.files.read(`${POOL}/volumes/${id}/meta.json`)))),
  );
  expect(records.map(({ name }) => name)).toContain("copy");
}

const scenarios: readonly Scenario[] = [
  {
    title: "CreateSnapshot",
    keeps: "the volume",
    prepare: fill,
    act: (world, id) => snapshot(world, id),
    async requireDone(world, id) {
      const ids = await named(world, "snapshots");
      expect(ids).toEqual([await snapshot(world, id)]); // finds it, makes none
      expect(await named(world, "snapshots")).toEqual(ids);
    },
  },
  {
    title: "DeleteSnapshot",
    keeps: "the volume",
    prepare: async (world) => snapshot(world, await fill(world)),
    act: (world, snapshot_id) => world.call("Controller.DeleteSnapshot", { snapshot_id }),
    requireDone: async (world) => expect(await named(world, "snapshots")).toEqual([]),
  },
  {
    title: "DeleteVolume of a volume that has a snapshot",
    keeps: "the snapshot",
    async prepare(world) {
      const id = await fill(world);
      await snapshot(world, id);
      return id;
    },
    act: (world, volume_id) => world.call("Controller.DeleteVolume", { volume_id }),
    requireDone: async (world) => expect(await named(world, "volumes")).toEqual([]),
  },
  {
    title: "CreateVolume from a snapshot",
    keeps: "the snapshot",
    prepare: async (world) => snapshot(world, await fill(world)),
    act: (world, snapshot_id) => copyFrom({ snapshot: { snapshot_id }, volume: null })(world),
    requireDone: requireCopy,
  },
  {
    title: "CreateVolume from a volume",
    keeps: "the volume",
    prepare: fill,
    act: (world, volume_id) => copyFrom({ snapshot: null, volume: { volume_id } })(world),
    requireDone: requireCopy,
  },
];

async function requireKept(world: World, { keeps }: Scenario): Promise<void> {
  const kept = await named(world, keeps === "the volume" ? "volumes" : "snapshots");
  expect(kept.length).toBeGreaterThan(0);
}

async function prepare(scenario: Scenario): Promise<{ readonly world: World; readonly id: string }> {
  const world = createWorld();
  await world.driver.scan();
  const id = await scenario.prepare(world);
  world.files.settle();
  return { world, id };
}

/** Runs the call with `at` called at its n-th event; gives whether it was acknowledged, and its events. */
async function actWith(
  scenario: Scenario,
  { world, id }: { world: World; id: string },
  n: number,
  at: () => void,
) {
  const events: string[] = [];
  watch(world, (effect) => {
    if (events.push(effect) === n + 1) at();
  });
  const acknowledged = await scenario.act(world, id).then(
    () => true,
    () => false,
  );
  await world.settled().catch(() => undefined); // removal in the background belongs to the sweep
  watch(world, undefined);
  return { acknowledged, events };
}

async function eventsOf(scenario: Scenario): Promise<readonly string[]> {
  const { acknowledged, events } = await actWith(scenario, await prepare(scenario), -1, () => undefined);
  expect(acknowledged).toBe(true);
  return events;
}

/** Reading in between leaves the disk of the moment before. */
function momentsOf(events: readonly string[]): number[] {
  return [...events.keys()].filter((n) => n === 0 || n === events.length - 1 || !isReading(events[n] ?? ""));
}

async function retry(scenario: Scenario, world: World, id: string): Promise<void> {
  await scenario.act(world, id);
  await requireSound(world);
  await scenario.requireDone(world, id);
  await requireKept(world, scenario);
}

/** Deterministic coin tosses, so that a failure can be repeated. */
function tosses(seed: number): () => boolean {
  let state = seed * 2_654_435_761 + 1;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state > 0x7fff_ffff;
  };
}

const crashes: readonly (readonly [string, (n: number) => Survival])[] = [
  ["the process is killed", () => "everything"],
  ["the power is cut and only what was synced is left", () => "synced"],
  ["the power is cut and names are left without what was not synced", () => "names"],
  ["the power is cut and chance decides what is left", (n) => tosses(n)],
];

describe.each(scenarios)("$title", (scenario) => {
  test("is whole whichever of its effects fails, before or after it happened", async () => {
    for (const n of (await eventsOf(scenario)).keys()) {
      const prepared = await prepare(scenario);
      const { world, id } = prepared;
      const { acknowledged } = await actWith(scenario, prepared, n, () => {
        throw errnoError("EIO", "injected", `event ${n}`);
      });
      if (acknowledged) await scenario.requireDone(world, id);
      await retry(scenario, world, id);
      const after = await restart(world, "synced");
      await requireSound(after);
      await scenario.requireDone(after, id);
    }
  });

  test.each(crashes)("is whole when %s at any of its effects", async (_, survivalOf) => {
    for (const n of momentsOf(await eventsOf(scenario))) {
      const prepared = await prepare(scenario);
      const { world, id } = prepared;
      let crashed: ReturnType<World["files"]["crash"]> | undefined;
      const { acknowledged } = await actWith(scenario, prepared, n, () => {
        crashed = world.files.crash(survivalOf(n));
      });
      expect(crashed).toBeDefined();
      const after = await restart({ ...world, files: crashed ?? world.files }, "everything");
      await requireSound(after);
      await requireKept(after, scenario);
      if (acknowledged) await scenario.requireDone(after, id);
      await retry(scenario, after, id);
    }
  });
});

describe.each(scenarios.filter(({ title }) => title.startsWith("Create")))("$title", (scenario) => {
  test("leaves nothing behind when the disk is full at any of its effects, and says so", async () => {
    const isWriting = (event: string) => /^before file\.(mkdir|create|sync) .*staging/.test(event);
    const events = await eventsOf(scenario);
    expect(events.filter(isWriting).length).toBeGreaterThan(10);
    for (const n of [...events.keys()].filter((each) => isWriting(events[each] ?? ""))) {
      const prepared = await prepare(scenario);
      const reserved = (await prepared.world.settled()).reservedBytes;
      const { acknowledged } = await actWith(scenario, prepared, n, () => {
        throw errnoError("ENOSPC", "injected", `event ${n}`);
      });
      expect(acknowledged).toBe(false);
      await requireSound(prepared.world);
      expect((await prepared.world.settled()).reservedBytes).toBe(reserved);
    }
  });
});

test("CreateSnapshot syncs every file and directory of the copy, then the record, then renames", async () => {
  const world = createWorld();
  await world.driver.scan();
  const id = await fill(world);
  const seen: string[] = [];
  watch(world, (effect) => {
    if (effect.startsWith("before ") && !isReading(effect)) seen.push(effect.slice("before ".length));
  });
  const cut = await snapshot(world, id);
  watch(world, undefined);
  const staged = `${POOL}/.pool/staging/${cut}`;
  const rename = seen.indexOf(`file.rename ${staged} -> ${POOL}/snapshots/${cut}`);
  expect(seen.slice(rename)).toEqual([seen[rename], `file.sync ${POOL}/snapshots`]);
  for (const path of ["/data", "/data/precious", "/data/inner", "/data/inner/more", "/meta.json", ""]) {
    const last = seen.lastIndexOf(`file.sync ${staged}${path}`);
    expect([path, last > -1 && last < rename]).toEqual([path, true]);
  }
});
