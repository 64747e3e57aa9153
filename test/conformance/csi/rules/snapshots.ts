/** Snapshots, and volumes made from snapshots and from volumes. */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expectCode, NotApplicable, type Rule, requiredFields, unknownIds } from "../rule.ts";
import type { Snapshot, Volume, World } from "../world.ts";

const create = ["controller:CREATE_DELETE_VOLUME", "controller:CREATE_DELETE_SNAPSHOT"] as const;
const list = [...create, "controller:LIST_SNAPSHOTS"] as const;
const clone = ["controller:CREATE_DELETE_VOLUME", "controller:CLONE_VOLUME"] as const;

const fromSnapshot = ({ snapshot_id }: Pick<Snapshot, "snapshot_id">) => ({
  volume_content_source: { snapshot: { snapshot_id } },
});
const fromVolume = ({ volume_id }: Pick<Volume, "volume_id">) => ({
  volume_content_source: { volume: { volume_id } },
});

interface Page {
  readonly entries: readonly { readonly snapshot: Snapshot }[];
  readonly next_token: string;
}

async function allSnapshots(world: World, filter: object, maxEntries = 0): Promise<Snapshot[]> {
  const found: Snapshot[] = [];
  let starting_token = "";
  do {
    const page: Page = await world.call("ListSnapshots", {
      ...filter,
      max_entries: maxEntries,
      starting_token,
    });
    if (maxEntries > 0) assert.ok(page.entries.length <= maxEntries);
    found.push(...page.entries.map(({ snapshot }) => snapshot));
    starting_token = page.next_token;
  } while (starting_token !== "");
  return found;
}

export const createSnapshotRules: readonly Rule[] = [
  ...requiredFields({
    method: "CreateSnapshot",
    needs: create,
    request: async (world) => world.snapshotRequest(await world.create()),
    fields: ["name", "source_volume_id"],
  }),
  ...unknownIds.map(
    (source_volume_id): Rule => ({
      title: `CreateSnapshot: of the unknown volume ${JSON.stringify(source_volume_id.slice(0, 16))} it is NOT_FOUND`,
      needs: create,
      run: (world) =>
        expectCode(
          world,
          ["CreateSnapshot", { name: world.name("snapshot"), source_volume_id }],
          "NOT_FOUND",
        ),
    }),
  ),
  {
    title: "CreateSnapshot: answers an id, its source, and when it was cut",
    needs: create,
    async run(world) {
      const volume = await world.create();
      const snapshot = await world.snapshot(volume);
      assert.ok(snapshot.snapshot_id.length >= 1 && Buffer.byteLength(snapshot.snapshot_id) <= 128);
      assert.equal(snapshot.source_volume_id, volume.volume_id);
      const age = Date.now() / 1000 - Number(snapshot.creation_time?.seconds);
      assert.ok(Math.abs(age) < 300, `cut ${age} seconds ago`);
    },
  },
  {
    title: "CreateSnapshot: repeated with the same name and source it answers the same snapshot",
    needs: create,
    async run(world) {
      const volume = await world.create();
      const name = world.name("again");
      const first = await world.snapshot(volume, { name });
      const { snapshot } = await world.call<{ snapshot: Snapshot }>(
        "CreateSnapshot",
        world.snapshotRequest(volume, { name }),
      );
      assert.deepEqual(
        [snapshot.snapshot_id, snapshot.creation_time],
        [first.snapshot_id, first.creation_time],
      );
    },
  },
  {
    title: "CreateSnapshot: the same name with another source is ALREADY_EXISTS",
    needs: create,
    async run(world) {
      const [one, other] = [await world.create(), await world.create()];
      const name = world.name("taken");
      await world.snapshot(one, { name });
      await expectCode(world, ["CreateSnapshot", world.snapshotRequest(other, { name })], "ALREADY_EXISTS");
    },
  },
  {
    title: "CreateSnapshot: a name of 128 bytes is served",
    needs: create,
    async run(world) {
      await world.snapshot(await world.create(), { name: world.name("long").padEnd(128, "x") });
    },
  },
  {
    title: "CreateSnapshot: the snapshot outlives its volume, or the volume cannot be deleted before it",
    needs: list,
    async run(world) {
      const volume = await world.create();
      const { snapshot_id } = await world.snapshot(volume);
      const { code } = await world.outcome("DeleteVolume", { volume_id: volume.volume_id });
      assert.ok(["OK", "FAILED_PRECONDITION"].includes(code), code);
      assert.equal((await allSnapshots(world, { snapshot_id })).length, 1);
    },
  },
  ...requiredFields({
    method: "DeleteSnapshot",
    needs: create,
    request: async () => ({ snapshot_id: "x" }),
    fields: ["snapshot_id"],
  }),
  ...unknownIds.map(
    (snapshot_id): Rule => ({
      title: `DeleteSnapshot: the unknown id ${JSON.stringify(snapshot_id.slice(0, 16))} is OK`,
      needs: create,
      run: (world) => expectCode(world, ["DeleteSnapshot", { snapshot_id }], "OK"),
    }),
  ),
  {
    title: "DeleteSnapshot: repeated for a snapshot that is gone it is OK",
    needs: create,
    async run(world) {
      const { snapshot_id } = await world.snapshot(await world.create());
      for (let count = 0; count < 3; count++)
        await expectCode(world, ["DeleteSnapshot", { snapshot_id }], "OK");
    },
  },
];

export const listSnapshotRules: readonly Rule[] = [
  {
    title: "ListSnapshots: by id it answers that one, by source those of that volume, and no other",
    needs: list,
    async run(world) {
      const [one, other] = [await world.create(), await world.create()];
      const snapshots = [await world.snapshot(one), await world.snapshot(one), await world.snapshot(other)];
      const [first] = snapshots;
      const ids = (found: readonly Snapshot[]) => found.map(({ snapshot_id }) => snapshot_id).sort();
      assert.deepEqual(ids(await allSnapshots(world, { snapshot_id: first?.snapshot_id })), [
        first?.snapshot_id,
      ]);
      assert.deepEqual(
        ids(await allSnapshots(world, { source_volume_id: one.volume_id })),
        ids(snapshots.slice(0, 2)),
      );
    },
  },
  ...(["snapshot_id", "source_volume_id"] as const).map(
    (filter): Rule => ({
      title: `ListSnapshots: by an unknown ${filter} it answers an empty list`,
      needs: list,
      async run(world) {
        for (const id of unknownIds) assert.deepEqual(await allSnapshots(world, { [filter]: id }), []);
      },
    }),
  ),
  {
    title: "ListSnapshots: in pages of 2, every snapshot comes once",
    needs: list,
    async run(world) {
      const volume = await world.create();
      const made: string[] = [];
      for (let count = 0; count < 5; count++) made.push((await world.snapshot(volume)).snapshot_id);
      const found = await allSnapshots(world, { source_volume_id: volume.volume_id }, 2);
      assert.deepEqual(found.map(({ snapshot_id }) => snapshot_id).sort(), made.sort());
    },
  },
  {
    title: "ListSnapshots: a token that is none is ABORTED",
    needs: list,
    run: (world) => expectCode(world, ["ListSnapshots", { starting_token: "no-token" }], "ABORTED"),
  },
  {
    title: "ListSnapshots: names a snapshot from its creation to its deletion",
    needs: list,
    async run(world) {
      const count = async () => (await allSnapshots(world, {})).length;
      const before = await count();
      const { snapshot_id } = await world.snapshot(await world.create());
      assert.equal(await count(), before + 1);
      await world.call("DeleteSnapshot", { snapshot_id });
      assert.equal(await count(), before);
    },
  },
  ...unknownIds.map(
    (snapshot_id): Rule => ({
      title: `GetSnapshot: the unknown id ${JSON.stringify(snapshot_id.slice(0, 16))} is NOT_FOUND`,
      needs: ["controller:GET_SNAPSHOT"],
      run: (world) => expectCode(world, ["GetSnapshot", { snapshot_id }], "NOT_FOUND"),
    }),
  ),
];

interface SourceKind {
  readonly kind: string;
  readonly needs: readonly string[];
  make(world: World, volume: Volume): Promise<object>;
  unknown(id: string): object;
}

const sources: readonly SourceKind[] = [
  {
    kind: "snapshot",
    needs: create,
    make: async (world, volume) => fromSnapshot(await world.snapshot(volume)),
    unknown: (snapshot_id) => fromSnapshot({ snapshot_id }),
  },
  {
    kind: "volume",
    needs: clone,
    make: async (_, volume) => fromVolume(volume),
    unknown: (volume_id) => fromVolume({ volume_id }),
  },
];

function sourceRules({ kind, needs, make, unknown }: SourceKind): Rule[] {
  return [
    ...unknownIds.map(
      (id): Rule => ({
        title: `CreateVolume: from the unknown ${kind} ${JSON.stringify(id.slice(0, 16))} it is NOT_FOUND`,
        needs,
        run: (world) => expectCode(world, ["CreateVolume", world.createRequest(unknown(id))], "NOT_FOUND"),
      }),
    ),
    {
      title: `CreateVolume: from a ${kind}, the answer names the source`,
      needs,
      async run(world) {
        const source = (await make(world, await world.create())) as { volume_content_source: object };
        const { content_source } = await world.create(source);
        const [wanted] = Object.entries(source.volume_content_source);
        assert.deepEqual((content_source as Record<string, object>)[wanted?.[0] ?? ""], wanted?.[1]);
      },
    },
    {
      title: `CreateVolume: from a ${kind}, the same name without a source is another wish: ALREADY_EXISTS`,
      needs,
      async run(world) {
        const request = world.createRequest(await make(world, await world.create()));
        world.adopt((await world.call<{ volume: Volume }>("CreateVolume", request)).volume);
        const { volume_content_source: _, ...empty } = request;
        await expectCode(world, ["CreateVolume", empty], "ALREADY_EXISTS");
      },
    },
    {
      title: `CreateVolume: from a ${kind}, it holds what the source held, and is a volume of its own`,
      needs,
      access: "mount",
      async run(world) {
        const original = await world.create();
        const places = [await world.place(), await world.place()] as const;
        await world.publish(original, places[0]);
        await writeFile(join(places[0].target, "kept"), "before");
        await world.unpublish(original, places[0]);
        await world.unstage(original, places[0]);
        const copy = await world.create(await make(world, original));
        await world.publish(copy, places[1]);
        assert.equal(await readFile(join(places[1].target, "kept"), "utf8"), "before");
        await writeFile(join(places[1].target, "kept"), "after");
        await world.publish(original, places[0]);
        assert.equal(await readFile(join(places[0].target, "kept"), "utf8"), "before");
      },
    },
    {
      title: `CreateVolume: from a ${kind}, a smaller size than the source's is refused`,
      needs,
      async run(world) {
        const { sizeBytes } = world.options;
        const original = await world.create({ capacity_range: { required_bytes: 2 * sizeBytes } });
        if (Number(original.capacity_bytes) < 2 * sizeBytes)
          throw new NotApplicable("the driver names no size");
        const capacity_range = { required_bytes: sizeBytes, limit_bytes: sizeBytes };
        const request = world.createRequest({ ...(await make(world, original)), capacity_range });
        await expectCode(world, ["CreateVolume", request], "OUT_OF_RANGE", "INVALID_ARGUMENT");
      },
    },
  ];
}

export const contentSourceRules: readonly Rule[] = sources.flatMap(sourceRules);
