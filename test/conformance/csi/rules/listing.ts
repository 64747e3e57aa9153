/** ListVolumes, ControllerGetVolume and GetCapacity. */
import assert from "node:assert/strict";
import { setTimeout } from "node:timers/promises";
import { expectCode, NotApplicable, type Rule, requiredFields, unknownIds } from "../rule.ts";
import type { Volume, World } from "../world.ts";

const list = ["controller:CREATE_DELETE_VOLUME", "controller:LIST_VOLUMES"] as const;
const get = ["controller:CREATE_DELETE_VOLUME", "controller:GET_VOLUME"] as const;
const capacity = ["controller:GET_CAPACITY"] as const;

interface Page {
  readonly entries: readonly { readonly volume: Volume }[];
  readonly next_token: string;
}

/** Every id, page by page. */
async function allIds(world: World, maxEntries: number): Promise<string[]> {
  const ids: string[] = [];
  let starting_token = "";
  do {
    const page: Page = await world.call("ListVolumes", { max_entries: maxEntries, starting_token });
    if (maxEntries > 0) assert.ok(page.entries.length <= maxEntries, `${page.entries.length} entries`);
    ids.push(...page.entries.map(({ volume }) => volume.volume_id));
    starting_token = page.next_token;
  } while (starting_token !== "");
  return ids;
}

export const listingRules: readonly Rule[] = [
  {
    title: "ListVolumes: names a volume from its creation to its deletion",
    needs: list,
    async run(world) {
      const before = await allIds(world, 0);
      const { volume_id } = await world.create();
      const during = await allIds(world, 0);
      assert.equal(during.length, before.length + 1);
      assert.ok(during.includes(volume_id));
      await world.call("DeleteVolume", { volume_id });
      assert.equal((await allIds(world, 0)).length, before.length);
    },
  },
  ...[1, 2, 1000].map(
    (maxEntries): Rule => ({
      title: `ListVolumes: in pages of ${maxEntries}, every volume comes once`,
      needs: list,
      async run(world) {
        const made: string[] = [];
        for (let count = 0; count < 5; count++) made.push((await world.create()).volume_id);
        const ids = await allIds(world, maxEntries);
        assert.equal(new Set(ids).size, ids.length, "an id comes twice");
        for (const id of made) assert.ok(ids.includes(id), `${id} is missing`);
      },
    }),
  ),
  {
    title: "ListVolumes: a token that is none is ABORTED",
    needs: list,
    run: (world) => expectCode(world, ["ListVolumes", { starting_token: "no-token" }], "ABORTED"),
  },
  {
    title: "ListVolumes: a negative number of entries is INVALID_ARGUMENT",
    needs: list,
    run: (world) => expectCode(world, ["ListVolumes", { max_entries: -1 }], "INVALID_ARGUMENT"),
  },
  {
    title: "ListVolumes: a page begun before a volume was deleted can be ended, or is ABORTED",
    needs: list,
    async run(world) {
      const volumes = [await world.create(), await world.create(), await world.create()];
      const { next_token }: Page = await world.call("ListVolumes", { max_entries: 1 });
      if (next_token === "") throw new NotApplicable("the driver gives no token for three volumes");
      for (const { volume_id } of volumes) await world.call("DeleteVolume", { volume_id });
      await expectCode(world, ["ListVolumes", { starting_token: next_token }], "OK", "ABORTED");
    },
  },
  ...requiredFields({
    method: "ControllerGetVolume",
    needs: get,
    request: async () => ({ volume_id: "x" }),
    fields: ["volume_id"],
  }),
  ...unknownIds.map(
    (volume_id): Rule => ({
      title: `ControllerGetVolume: the unknown id ${JSON.stringify(volume_id.slice(0, 16))} is NOT_FOUND`,
      needs: get,
      run: (world) => expectCode(world, ["ControllerGetVolume", { volume_id }], "NOT_FOUND"),
    }),
  ),
  {
    title: "ControllerGetVolume: answers the volume, and with VOLUME_CONDITION that it is well",
    needs: get,
    async run(world) {
      const { volume_id, capacity_bytes } = await world.create();
      const { volume } = await world.call<{ volume: Volume }>("ControllerGetVolume", { volume_id });
      assert.deepEqual(
        { id: volume.volume_id, bytes: volume.capacity_bytes },
        { id: volume_id, bytes: capacity_bytes },
      );
      if (world.has("controller:VOLUME_CONDITION")) await becomesWell(world, volume_id);
    },
  },
];

type Condition = { readonly abnormal: boolean; readonly message: string };
const RECOVERY_MS = 20_000;

/** What a file system puts right by itself after others were deleted, such as its quota numbers, may take a moment. */
async function becomesWell(world: World, volume_id: string): Promise<void> {
  const giveUpMs = performance.now() + RECOVERY_MS;
  for (;;) {
    type Answer = { readonly status: { readonly volume_condition: Condition | null } | null };
    const { status } = await world.call<Answer>("ControllerGetVolume", { volume_id });
    const condition = status?.volume_condition;
    if (condition?.abnormal === false) return;
    assert.ok(performance.now() < giveUpMs, `not well: ${condition?.message ?? "no condition is told"}`);
    await setTimeout(250);
  }
}

interface Capacity {
  readonly available_capacity: string;
  readonly maximum_volume_size: { readonly value: string } | null;
  readonly minimum_volume_size: { readonly value: string } | null;
}

const capacityRequest = ({ options }: World) => ({ parameters: { ...options.parameters } });

export const capacityRules: readonly Rule[] = [
  {
    title: "GetCapacity: an empty request is answered with no negative number",
    needs: capacity,
    async run(world) {
      assert.ok(Number((await world.call<Capacity>("GetCapacity")).available_capacity) >= 0);
    },
  },
  {
    title: "GetCapacity: a segment that is not the driver's has no capacity",
    needs: [...capacity, "plugin:VOLUME_ACCESSIBILITY_CONSTRAINTS"],
    async run(world) {
      type Info = { accessible_topology: { segments: Record<string, string> } };
      const { accessible_topology: own } = await world.call<Info>("NodeGetInfo");
      const segments = Object.fromEntries(Object.keys(own.segments).map((key) => [key, "elsewhere"]));
      const answer = await world.call<Capacity>("GetCapacity", { accessible_topology: { segments } });
      assert.equal(answer.available_capacity, "0");
    },
  },
  {
    title: "GetCapacity: the minimum size is not above the maximum",
    needs: capacity,
    async run(world) {
      const answer = await world.call<Capacity>("GetCapacity", capacityRequest(world));
      const maximum = Number(answer.maximum_volume_size?.value ?? Number.MAX_SAFE_INTEGER);
      assert.ok(Number(answer.minimum_volume_size?.value ?? 0) <= maximum);
    },
  },
  {
    title: "GetCapacity: promises no more than CreateVolume gives, up to the maximum size",
    needs: [...capacity, "controller:CREATE_DELETE_VOLUME"],
    async run(world) {
      const answer = await world.call<Capacity>("GetCapacity", capacityRequest(world));
      const available = Number(answer.available_capacity);
      const size = Math.min(available, Number(answer.maximum_volume_size?.value ?? available));
      if (size > 2 ** 36) throw new NotApplicable(`${size} bytes are too many to try`);
      if (size < Number(answer.minimum_volume_size?.value ?? 1))
        throw new NotApplicable("nothing is available");
      // A few per cent are left to what else writes to the disk in the meantime.
      await world.create({ capacity_range: { required_bytes: Math.floor(size * 0.97) } });
    },
  },
  {
    title: "GetCapacity: a volume takes from the capacity, and its deletion gives it back",
    needs: [...capacity, "controller:CREATE_DELETE_VOLUME"],
    async run(world) {
      const available = async () =>
        Number((await world.call<Capacity>("GetCapacity", capacityRequest(world))).available_capacity);
      const before = await available();
      const size = world.options.sizeBytes;
      const { volume_id } = await world.create();
      if ((await available()) > before - size * 0.5)
        throw new NotApplicable("the driver does not reserve what it gives");
      await world.call("DeleteVolume", { volume_id });
      for (let tries = 0; (await available()) < before - size * 0.5; tries++) {
        assert.ok(tries < 50, "the capacity of the deleted volume has not come back in five seconds");
        await setTimeout(100);
      }
    },
  },
];
