/**
 * Fault sweep of the CSI leg. Every call is stopped at each of its effects, before and after it: the effect fails, or
 * the process is killed, or the power is cut and what was not synced is lost. Then the node starts again, the caller
 * retries as kubelets and sidecars do, and nothing may be lost, half-made, adopted, left over or counted wrongly.
 */
import { describe, expect, test } from "vitest";
import { isKind } from "../../src/errors.ts";
import { errnoError } from "../../src/host/errno.ts";
import type { Survival } from "../fakes/files.ts";
import {
  create,
  createFilled,
  createWorld,
  GROWN_SIZE,
  isReading,
  POOL,
  recordOf,
  requests,
  requireAccount,
  requireContent,
  requireSound,
  restart,
  stagingOf,
  TARGET,
  volumesOnDisk,
  type World,
  watch,
} from "./csi-world.ts";

/** One call, with what has to be there before it and what must hold once it was acknowledged. */
interface Scenario {
  readonly title: string;
  /** Gives the volume that the call is about. */
  prepare(world: World): Promise<string>;
  act(world: World, id: string): Promise<unknown>;
  /** After an acknowledged call, and after any crash that followed it. */
  requireDone(world: World, id: string, powerCut: boolean): Promise<void>;
  /** After a call that was answered with an error, where it takes back what it did. */
  requireUndone?(world: World, id: string): Promise<void>;
  /** At any time, acknowledged or not. */
  requireSafe(world: World, id: string): Promise<void>;
}

const nothing = async () => undefined;
const mountsAt = async ({ mounts }: World, target = TARGET) =>
  (await mounts.list()).filter(({ mountPoint }) => mountPoint === target);

/** A volume with content, and the staging directory that the kubelet makes for it. */
async function prepareStaging(world: World, name: string): Promise<string> {
  const id = await createFilled(world, name);
  await world.files.mkdir(stagingOf(id), 0o750);
  return id;
}

/** The inline volumes that the pool has, by the ids of the pool. */
async function inlineVolumes(world: World): Promise<string[]> {
  const found: string[] = [];
  for (const id of await volumesOnDisk(world)) {
    if ((await recordOf(world, id)).ephemeral) found.push(id);
  }
  return found;
}

const requirePublished = (world: World, id: string) => requireMounted(world, id, TARGET);

async function requireMounted(world: World, id: string, path: string): Promise<void> {
  const mounts = await mountsAt(world, path);
  expect(mounts.map(({ root, options }) => [root, options.slice(0, 3)])).toEqual([
    [`${POOL}/volumes/${id}/data`, ["rw", "nosuid", "nodev"]],
  ]);
}

async function requireUnpublished(world: World): Promise<void> {
  expect(await mountsAt(world)).toEqual([]);
  await expect(world.files.stat(TARGET)).rejects.toMatchObject({ kind: "not-found" });
}

const scenarios: readonly Scenario[] = [
  {
    title: "CreateVolume",
    prepare: async () => "",
    act: (world) => create(world, "new"),
    async requireDone(world) {
      const ids = await volumesOnDisk(world);
      const id = await create(world, "new"); // finds it, makes none
      expect(ids).toContain(id);
      expect(await volumesOnDisk(world)).toEqual(ids);
      expect(await world.files.list(`${POOL}/volumes/${id}/data`)).toEqual([]);
    },
    requireSafe: nothing,
  },
  {
    title: "DeleteVolume",
    prepare: (world) => createFilled(world, "old"),
    act: (world, volume_id) => world.call("Controller.DeleteVolume", { volume_id }),
    async requireDone(world, id) {
      expect(await volumesOnDisk(world)).not.toContain(id);
    },
    async requireSafe(world, id) {
      // Until the delete is acknowledged the volume is whole or gone, never something in between.
      if ((await volumesOnDisk(world)).includes(id)) await requireContent(world, id, "old");
    },
  },
  {
    title: "NodePublishVolume",
    prepare: (world) => createFilled(world, "shown"),
    act: (world, id) => world.call("Node.NodePublishVolume", requests.publish(id, TARGET)),
    async requireDone(world, id, powerCut) {
      if (!powerCut) await requirePublished(world, id);
    },
    requireUndone: requireUnpublished,
    async requireSafe(world, id) {
      await requireContent(world, id, "shown");
      if ((await mountsAt(world)).length > 0) await requirePublished(world, id);
    },
  },
  {
    title: "NodeStageVolume",
    prepare: (world) => prepareStaging(world, "staged"),
    act: (world, id) => world.call("Node.NodeStageVolume", requests.stage(id)),
    async requireDone(world, id, powerCut) {
      if (!powerCut) await requireMounted(world, id, stagingOf(id));
    },
    async requireUndone(world, id) {
      expect(await mountsAt(world, stagingOf(id))).toEqual([]);
      expect((await world.files.stat(stagingOf(id))).kind).toBe("directory");
    },
    requireSafe: (world, id) => requireContent(world, id, "staged"),
  },
  {
    title: "NodeUnstageVolume",
    async prepare(world) {
      const id = await prepareStaging(world, "staged");
      await world.call("Node.NodeStageVolume", requests.stage(id));
      return id;
    },
    act: (world, id) => world.call("Node.NodeUnstageVolume", requests.stage(id)),
    async requireDone(world, id, powerCut) {
      if (!powerCut) expect(await mountsAt(world, stagingOf(id))).toEqual([]);
    },
    requireSafe: (world, id) => requireContent(world, id, "staged"),
  },
  {
    title: "NodePublishVolume of a staged volume",
    async prepare(world) {
      const id = await prepareStaging(world, "shown");
      await world.call("Node.NodeStageVolume", requests.stage(id));
      return id;
    },
    act: (world, id) => world.call("Node.NodePublishVolume", requests.publish(id, TARGET)),
    async requireDone(world, id, powerCut) {
      if (!powerCut) await requirePublished(world, id);
    },
    requireUndone: requireUnpublished,
    requireSafe: (world, id) => requireContent(world, id, "shown"),
  },
  {
    title: "NodePublishVolume of an inline volume",
    prepare: async () => "",
    act: (world) => world.call("Node.NodePublishVolume", requests.publishInline(TARGET)),
    async requireDone(world, _, powerCut) {
      const [inline, ...others] = await inlineVolumes(world);
      expect(others).toEqual([]);
      expect(inline).toBeDefined();
      if (!powerCut && inline !== undefined) await requirePublished(world, inline);
    },
    requireSafe: nothing,
  },
  {
    title: "NodeUnpublishVolume of an inline volume",
    async prepare(world) {
      await world.call("Node.NodePublishVolume", requests.publishInline(TARGET));
      return "";
    },
    act: (world) => world.call("Node.NodeUnpublishVolume", requests.publishInline(TARGET)),
    async requireDone(world, _, powerCut) {
      expect(await inlineVolumes(world)).toEqual([]);
      if (!powerCut) await requireUnpublished(world);
    },
    requireSafe: nothing,
  },
  {
    title: "NodeExpandVolume",
    prepare: (world) => createFilled(world, "grown"),
    act: (world, id) => world.call("Node.NodeExpandVolume", requests.expand(id, GROWN_SIZE)),
    requireDone: async (world, id) => expect((await recordOf(world, id)).sizeBytes).toBe(GROWN_SIZE),
    requireSafe: (world, id) => requireContent(world, id, "grown"),
  },
  {
    title: "DeleteVolume of a volume that its class keeps for a while, and its return",
    prepare: (world) => createFilled(world, "kept", { onDelete: "trash", trashRetention: "1h" }),
    async act(world, volume_id) {
      const isThere = (await volumesOnDisk(world)).includes(volume_id);
      if (isThere) await world.call("Controller.DeleteVolume", { volume_id });
      await world.driver.deleted.restore(volume_id).catch((error) => {
        // A restore that is made again finds the volume where it belongs.
        if (isThere || !isKind(error, "not-found", "conflict")) throw error;
      });
    },
    async requireDone(world, id) {
      expect(await volumesOnDisk(world)).toContain(id);
      await requireContent(world, id, "kept");
    },
    async requireSafe(world, id) {
      const [kept] = (await volumesOnDisk(world)).includes(id) ? [] : await world.driver.deleted.list();
      const directory = kept ? `${POOL}/.pool/trash/${kept.entry}` : `${POOL}/volumes/${id}`;
      expect(String(await world.files.read(`${directory}/data/precious`))).toBe("kept");
    },
  },
  {
    title: "DeleteVolume of a volume that its class retains",
    prepare: (world) => createFilled(world, "kept", { onDelete: "retain" }),
    act: (world, volume_id) => world.call("Controller.DeleteVolume", { volume_id }),
    async requireDone(world, id) {
      expect(await volumesOnDisk(world)).not.toContain(id);
      const [entry, ...others] = await world.files.list(`${POOL}/.pool/retained`);
      expect([entry?.name.startsWith(id), others]).toEqual([true, []]);
      const precious = `${POOL}/.pool/retained/${entry?.name}/data/precious`;
      expect(String(await world.files.read(precious))).toBe("kept");
    },
    requireSafe: nothing,
  },
  {
    title: "NodeUnpublishVolume, of two mounts stacked on the target",
    async prepare(world) {
      const id = await createFilled(world, "shown");
      await world.call("Node.NodePublishVolume", requests.publish(id, TARGET));
      await world.mounts.bind(`${POOL}/volumes/${id}/data`, TARGET, { readOnly: false, flags: [] });
      world.files.settle();
      return id;
    },
    act: (world, id) => world.call("Node.NodeUnpublishVolume", requests.publish(id, TARGET)),
    async requireDone(world, _, powerCut) {
      // rmdir is not synced, and need not be: the kubelet removes an empty directory, and so does a retry.
      if (!powerCut) await requireUnpublished(world);
    },
    requireSafe: (world, id) => requireContent(world, id, "shown"),
  },
];

interface Prepared {
  readonly world: World;
  readonly id: string;
  readonly bystander: string;
}

async function prepare(scenario: Scenario): Promise<Prepared> {
  const world = createWorld();
  await world.driver.scan();
  const bystander = await createFilled(world, "bystander");
  await world.call("Node.NodePublishVolume", requests.publish(bystander, "/kubelet/pods/b/mount"));
  const id = await scenario.prepare(world);
  world.files.settle();
  return { world, id, bystander };
}

/** Runs the call with `at` called at its n-th event; gives whether it was acknowledged, and its events. */
async function actWith(scenario: Scenario, { world, id }: Prepared, n: number, at: () => void) {
  const events: string[] = [];
  watch(world, (effect) => {
    if (events.push(effect) === n + 1) at();
  });
  const acknowledged = await scenario.act(world, id).then(
    () => true,
    () => false,
  );
  // What runs after the answer, such as the removal of a deleted volume, belongs to the sweep.
  await world.settled().catch(() => undefined);
  watch(world, undefined);
  return { acknowledged, events };
}

async function eventsOf(scenario: Scenario): Promise<readonly string[]> {
  const { acknowledged, events } = await actWith(scenario, await prepare(scenario), -1, () => undefined);
  expect(acknowledged).toBe(true);
  return events;
}

/**
 * The events at which a crash can leave something new: around each effect that changes anything, and at the last one,
 * when the call has been acknowledged. Reading in between leaves the disk of the moment before.
 */
function momentsOf(events: readonly string[]): number[] {
  return [...events.keys()].filter((n) => n === 0 || n === events.length - 1 || !isReading(events[n] ?? ""));
}

async function requireSafe(scenario: Scenario, world: World, { id, bystander }: Prepared): Promise<void> {
  await requireContent(world, bystander, "bystander");
  await scenario.requireSafe(world, id);
}

/** The call is made again until it works: once, for a fault that is over. */
async function retry(scenario: Scenario, world: World, prepared: Prepared): Promise<void> {
  await scenario.act(world, prepared.id);
  await requireSound(world);
  await scenario.requireDone(world, prepared.id, false);
  await requireSafe(scenario, world, prepared);
}

/** A power cut right after an acknowledgement takes nothing of it back. */
async function requireDurable(scenario: Scenario, world: World, prepared: Prepared): Promise<void> {
  const after = await restart(world, "synced");
  await requireSound(after);
  await scenario.requireDone(after, prepared.id, true);
  await requireSafe(scenario, after, prepared);
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
      const { world } = prepared;
      const fail = () => {
        throw errnoError("EIO", "injected", `event ${n}`);
      };
      const { acknowledged } = await actWith(scenario, prepared, n, fail);
      await requireSafe(scenario, world, prepared);
      await requireAccount(world);
      if (acknowledged) await scenario.requireDone(world, prepared.id, false);
      else await scenario.requireUndone?.(world, prepared.id);
      await retry(scenario, world, prepared);
      await requireDurable(scenario, world, prepared);
    }
  });

  test.each(crashes)("is whole when %s at any of its effects", async (_, survivalOf) => {
    for (const n of momentsOf(await eventsOf(scenario))) {
      const prepared = await prepare(scenario);
      const { world } = prepared;
      const kill = () => {
        world.files.halt();
        world.mounts.halt();
      };
      const { acknowledged } = await actWith(scenario, prepared, n, kill);
      const survival = survivalOf(n);
      const next = await restart(world, survival);
      await requireSafe(scenario, next, prepared);
      await requireSound(next);
      if (acknowledged) await scenario.requireDone(next, prepared.id, survival !== "everything");
      await retry(scenario, next, prepared);
      await requireDurable(scenario, next, prepared);
    }
  });
});

describe("faults that come in pairs", () => {
  const failAt = (world: World, ...effects: RegExp[]) =>
    watch(world, (effect) => {
      if (effects.some((wanted) => wanted.test(effect))) throw errnoError("EIO", "injected", effect);
    });

  test("a delete that happened, was reported as failed, and could not be looked at is settled by its retry", async () => {
    const world = createWorld();
    await world.driver.scan();
    const volume_id = await create(world, "old");
    failAt(world, /^after file.rename/, new RegExp(`^before file.stat .*/volumes/${volume_id}$`));
    await expect(world.call("Controller.DeleteVolume", { volume_id })).rejects.toMatchObject({ kind: "io" });
    watch(world, undefined);
    await world.call("Controller.DeleteVolume", { volume_id });
    await requireSound(world);
  });

  test("what a create could not clean up is replaced by its retry, with nothing of it adopted", async () => {
    const world = createWorld();
    await world.driver.scan();
    failAt(world, /^before file.rename/, /^before file.unlink/);
    await expect(create(world, "new")).rejects.toMatchObject({ kind: "io" });
    watch(world, undefined);
    const [left] = await world.files.list(`${POOL}/.pool/staging`);
    await world.files.create(`${POOL}/.pool/staging/${left?.name}/stale`, Buffer.from("x"), 0o600);
    const id = await create(world, "new");
    const names = (await world.files.list(`${POOL}/volumes/${id}`)).map(({ name }) => name).sort();
    expect(names).toEqual(["data", "meta.json"]);
    expect(await world.files.list(`${POOL}/volumes/${id}/data`)).toEqual([]);
    await requireSound(world);
  });
});

describe("the start of a new pool", () => {
  test.each(crashes)("ends in one pool when %s at any of its effects", async (_, survivalOf) => {
    const counted = createWorld();
    const events: string[] = [];
    watch(counted, (effect) => events.push(effect));
    await counted.driver.scan();
    for (const n of momentsOf(events)) {
      const world = createWorld();
      let count = 0;
      watch(world, () => {
        if (count++ === n) world.files.halt();
      });
      await world.driver.scan();
      const next = await restart(world, survivalOf(n));
      await requireSound(next);
      const id = await createFilled(next, "first");
      const last = await restart(next, "synced");
      await requireSound(last);
      await requireContent(last, id, "first");
    }
  });

  test("opens at the next use when any of its effects failed", async () => {
    const counted = createWorld();
    let events = 0;
    watch(counted, () => events++);
    await counted.driver.scan();
    for (let n = 0; n < events; n++) {
      const world = createWorld();
      let count = 0;
      watch(world, () => {
        if (count++ === n) throw errnoError("EIO", "injected", `event ${n}`);
      });
      await world.driver.scan();
      watch(world, undefined);
      await create(world, "first");
      await requireSound(world);
    }
  });
});
