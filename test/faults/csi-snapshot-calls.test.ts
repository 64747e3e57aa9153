/** Snapshots, restores and clones through the driver on the fake host: what is served, what is refused, and how. */
import { beforeEach, describe, expect, test } from "vitest";
import { isMadeOn, snapshotIdFor } from "../../src/csi/snapshot/id.ts";
import { volumeIdFor } from "../../src/csi/volume/id.ts";
import {
  create,
  createFilled,
  createWorld,
  POOL,
  requests,
  restart,
  SIZE,
  TARGET,
  type World,
} from "./csi-world.ts";

interface Snapshot {
  readonly snapshot_id: string;
  readonly source_volume_id: string;
  readonly size_bytes: string;
  readonly ready_to_use: boolean;
  readonly creation_time: { readonly seconds: string; readonly nanos: number };
}
interface Page {
  readonly entries: readonly { readonly snapshot: Snapshot }[];
  readonly next_token: string;
}
interface VolumeResponse {
  readonly volume: {
    readonly volume_id: string;
    readonly capacity_bytes: string;
    readonly content_source?: object;
  };
}

const LONGER_THAN_A_CALL_MS = 8_000;
let world: World;

beforeEach(async () => {
  world = createWorld();
  await world.driver.scan();
});

const cut = async (source_volume_id: string, name = "cut", parameters: object = {}): Promise<Snapshot> => {
  const request = { name, source_volume_id, parameters };
  return (await world.call<{ snapshot: Snapshot }>("Controller.CreateSnapshot", request)).snapshot;
};
const list = (filter: object = {}) =>
  world.call<Page>("Controller.ListSnapshots", {
    ...{ max_entries: 0, starting_token: "", source_volume_id: "", snapshot_id: "", ...filter },
  });
const idsOf = ({ entries }: Page) => entries.map(({ snapshot }) => snapshot.snapshot_id);
const fromSnapshot = (snapshot_id: string) => ({ snapshot: { snapshot_id }, volume: null });
const fromVolume = (volume_id: string) => ({ snapshot: null, volume: { volume_id } });
const copy = (volume_content_source: object, changes: object = {}) =>
  world.call<VolumeResponse>("Controller.CreateVolume", {
    ...{ ...requests.create("copy"), volume_content_source, ...changes },
  });
const publish = async (id: string) => {
  await world.call("Node.NodeStageVolume", requests.stage(id));
  await world.call("Node.NodePublishVolume", requests.publish(id, TARGET));
};
const settle = async () => {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
};

/** Holds every copy until the function is called. */
function holdCopies(): () => void {
  const gate = Promise.withResolvers<void>();
  world.copier.onEntry = () => gate.promise;
  return () => {
    world.copier.onEntry = undefined;
    gate.resolve();
  };
}

/** A call that does not get its answer in time. */
async function late(call: Promise<unknown>): Promise<void> {
  const told = expect(call).rejects.toMatchObject({
    kind: "busy",
    message: expect.stringContaining("ask again"),
  });
  await settle();
  world.clock.advance(LONGER_THAN_A_CALL_MS);
  await told;
}

describe("CreateSnapshot", () => {
  test("answers the same snapshot however often it is asked for, also after a restart", async () => {
    const id = await createFilled(world, "source");
    const first = await cut(id);
    expect(first).toEqual({
      ...{
        snapshot_id: snapshotIdFor({ nodeId: "node-1", name: "cut" }),
        source_volume_id: id,
        ready_to_use: true,
      },
      ...{ size_bytes: String(SIZE), creation_time: { seconds: "1767225600", nanos: 0 } },
    });
    world.clock.advance(5_000);
    expect(await cut(id)).toEqual(first);
    world = await restart(world, "synced");
    expect(await cut(id)).toEqual(first);
  });

  test("accounts for the snapshot when an attempt that failed had left half a copy behind", async () => {
    const id = await createFilled(world, "source");
    const staged = `${POOL}/.pool/staging/${snapshotIdFor({ nodeId: "node-1", name: "cut" })}`;
    await world.files.mkdir(staged, 0o700);
    await cut(id);
    expect(await world.settled()).toMatchObject({ reservedBytes: 2 * SIZE, trashed: 0 });
  });

  test("refuses the name for another volume", async () => {
    const [one, other] = [await createFilled(world, "one"), await createFilled(world, "other")];
    await cut(one);
    await expect(cut(other)).rejects.toMatchObject({
      kind: "conflict",
      message: expect.stringContaining(one),
    });
  });

  test.each([
    ["no name", { name: "" }, "invalid", "name"],
    ["a name with a control character", { name: "a\nb" }, "invalid", "name"],
    ["no source", { source_volume_id: "" }, "invalid", "source_volume_id"],
    ["a source that is no id", { source_volume_id: "../../etc" }, "not-found", "../../etc"],
    ["an unknown parameter", { parameters: { pool: "x" } }, "invalid", "parameters.pool"],
    [
      "an unknown consistency",
      { parameters: { consistency: "none" } },
      "invalid",
      'parameters.consistency is "none"',
    ],
  ])("refuses %s", async (_, changes, kind, said) => {
    const request = {
      name: "cut",
      source_volume_id: await createFilled(world, "source"),
      parameters: {},
      ...changes,
    };
    const refused = expect(world.call("Controller.CreateSnapshot", request)).rejects;
    await refused.toMatchObject({ kind, message: expect.stringContaining(said) });
    expect(await world.files.list(`${POOL}/snapshots`)).toEqual([]);
  });

  test("of a volume in use is refused with the remedy, until the volume is unpublished or the class is content", async () => {
    const id = await createFilled(world, "source");
    await publish(id);
    const remedy = expect.stringMatching(
      /in use.*stop its pods.*consistency: per-file in the VolumeSnapshotClass/,
    );
    await expect(cut(id)).rejects.toMatchObject({ kind: "precondition", message: remedy });
    await cut(id, "per file", { consistency: "per-file" });
    await world.call("Node.NodeUnpublishVolume", requests.publish(id, TARGET));
    await expect(cut(id)).rejects.toMatchObject({ kind: "precondition", message: remedy }); // staged is in use, too
    await world.call("Node.NodeUnstageVolume", requests.stage(id));
    await cut(id);
  });

  test("that does not fit into the pool is refused, and leaves nothing", async () => {
    const id = await createFilled(world, "source");
    world.files.fileSystem = { ...world.files.fileSystem, availableBytes: SIZE - 1 };
    await expect(cut(id)).rejects.toMatchObject({ kind: "exhausted" });
    expect((await world.settled()).reservedBytes).toBe(SIZE);
  });

  test("that takes long is told of until it is there; meanwhile nobody may use or delete the volume", async () => {
    const id = await createFilled(world, "source");
    const release = holdCopies();
    await late(cut(id));
    expect(idsOf(await list())).toEqual([]);
    const busy = { kind: "busy", message: expect.stringContaining("is being copied") };
    await expect(publish(id)).rejects.toMatchObject(busy);
    await expect(world.call("Controller.DeleteVolume", { volume_id: id })).rejects.toMatchObject(busy);
    const again = cut(id);
    release();
    expect([(await again).snapshot_id]).toEqual(idsOf(await list()));
    await publish(id);
  });

  test("file by file leaves the volume to its pods, but not to a deletion", async () => {
    const id = await createFilled(world, "source");
    const release = holdCopies();
    await late(cut(id, "cut", { consistency: "per-file" }));
    await publish(id);
    await world.call("Node.NodeUnpublishVolume", requests.publish(id, TARGET));
    await world.call("Node.NodeUnstageVolume", requests.stage(id));
    await expect(world.call("Controller.DeleteVolume", { volume_id: id })).rejects.toMatchObject({
      kind: "busy",
    });
    release();
    await cut(id, "cut", { consistency: "per-file" });
    await world.call("Controller.DeleteVolume", { volume_id: id });
  });

  test("that takes long does not hold up another volume", async () => {
    const [one, other] = [await createFilled(world, "one"), await createFilled(world, "other")];
    const release = holdCopies();
    await late(cut(one));
    await publish(other);
    release();
    await cut(one);
  });

  test("that is given up by the driver's end is removed at the next start", async () => {
    const id = await createFilled(world, "source");
    const release = holdCopies();
    const call = expect(cut(id)).rejects.toMatchObject({ kind: "cancelled" });
    await settle();
    const stopping = world.driver.stop();
    release();
    await Promise.all([stopping, call]);
    world = await restart(world, "everything");
    expect(await world.settled()).toMatchObject({ reservedBytes: SIZE, trashed: 0 });
    expect(await world.files.list(`${POOL}/.pool/staging`)).toEqual([]);
    await cut(id);
  });
});

describe("DeleteSnapshot", () => {
  test("gives its room back, and is repeatable; ids of nothing are deleted already", async () => {
    const { snapshot_id } = await cut(await createFilled(world, "source"));
    expect((await world.settled()).reservedBytes).toBe(2 * SIZE);
    for (const id of [
      snapshot_id,
      snapshot_id,
      "../..",
      "ts-x",
      volumeIdFor({ nodeId: "n", pool: "p", name: "n" }),
    ]) {
      await world.call("Controller.DeleteSnapshot", { snapshot_id: id });
    }
    expect((await world.settled()).reservedBytes).toBe(SIZE);
    await expect(world.call("Controller.DeleteSnapshot", { snapshot_id: "" })).rejects.toMatchObject({
      kind: "invalid",
    });
  });

  test("gives up a copy that is still being made", async () => {
    const id = await createFilled(world, "source");
    const release = holdCopies();
    await late(cut(id));
    const snapshot_id = snapshotIdFor({ nodeId: "node-1", name: "cut" });
    const deleting = world.call("Controller.DeleteSnapshot", { snapshot_id });
    release();
    await deleting;
    expect(idsOf(await list())).toEqual([]);
    expect((await world.settled()).reservedBytes).toBe(SIZE);
    await publish(id);
  });

  test("waits until nothing is made from it any more", async () => {
    const { snapshot_id } = await cut(await createFilled(world, "source"));
    const release = holdCopies();
    await late(copy(fromSnapshot(snapshot_id)));
    const deleting = world.call("Controller.DeleteSnapshot", { snapshot_id });
    await expect(deleting).rejects.toMatchObject({ kind: "busy" });
    release();
    await copy(fromSnapshot(snapshot_id));
    await world.call("Controller.DeleteSnapshot", { snapshot_id });
  });
});

describe("ListSnapshots", () => {
  test("goes through pages that miss and repeat none, also when one is deleted meanwhile", async () => {
    const id = await createFilled(world, "source");
    const all = [];
    for (let n = 0; n < 5; n++) all.push((await cut(id, `cut ${n}`)).snapshot_id);
    all.sort();
    const first = await list({ max_entries: 2 });
    expect(idsOf(first)).toEqual(all.slice(0, 2));
    await world.call("Controller.DeleteSnapshot", { snapshot_id: all[1] });
    const second = await list({ max_entries: 2, starting_token: first.next_token });
    expect(idsOf(second)).toEqual(all.slice(2, 4));
    const third = await list({ max_entries: 2, starting_token: second.next_token });
    expect([idsOf(third), third.next_token]).toEqual([all.slice(4), ""]);
  });

  test("knows filters, and takes what is unknown for no match", async () => {
    const [one, other] = [await createFilled(world, "one"), await createFilled(world, "other")];
    const [first, second] = [await cut(one, "a"), await cut(one, "b")];
    const third = await cut(other, "c");
    expect(idsOf(await list({ source_volume_id: one })).sort()).toEqual(
      [first.snapshot_id, second.snapshot_id].sort(),
    );
    expect(idsOf(await list({ snapshot_id: third.snapshot_id }))).toEqual([third.snapshot_id]);
    expect(idsOf(await list({ snapshot_id: third.snapshot_id, source_volume_id: one }))).toEqual([]);
    for (const filter of [{ snapshot_id: "none" }, { source_volume_id: "../x" }]) {
      expect(await list(filter)).toEqual({ entries: [], next_token: "" });
    }
  });

  test("refuses a token that is none with ABORTED, and a negative number", async () => {
    await expect(list({ starting_token: "x" })).rejects.toMatchObject({ kind: "busy" });
    await expect(list({ max_entries: -1 })).rejects.toMatchObject({ kind: "invalid" });
  });

  test("leaves out one whose record cannot be used, which stays and is counted", async () => {
    const { snapshot_id } = await cut(await createFilled(world, "source"));
    const record = `${POOL}/snapshots/${snapshot_id}/meta.json`;
    const torn = (await world.files.read(record)).subarray(0, 200);
    await world.files.unlink(record);
    await world.files.create(record, torn, 0o600);
    world.files.settle();
    world = await restart(world, "everything");
    expect(idsOf(await list())).toEqual([]);
    expect((await world.settled()).reservedBytes).toBe(2 * SIZE);
    await expect(list({ snapshot_id })).rejects.toMatchObject({ kind: "precondition" });
  });
});

describe("CreateVolume with a source", () => {
  test("has the content, echoes the source, and is the same when it is asked for again without it", async () => {
    const id = await createFilled(world, "source");
    const { snapshot_id } = await cut(id);
    const { volume } = await copy(fromSnapshot(snapshot_id));
    expect(volume).toMatchObject({ capacity_bytes: String(SIZE), content_source: fromSnapshot(snapshot_id) });
    const data = `${POOL}/volumes/${volume.volume_id}/data`;
    expect(String(await world.files.read(`${data}/precious`))).toBe("source");
    await world.call("Controller.DeleteSnapshot", { snapshot_id });
    await world.call("Controller.DeleteVolume", { volume_id: id });
    expect((await copy(fromSnapshot(snapshot_id))).volume).toEqual(volume);
    await expect(copy(fromVolume(id))).rejects.toMatchObject({ kind: "conflict" });
    await expect(create(world, "copy")).rejects.toMatchObject({ kind: "conflict" });
  });

  test("is at least as large as its source, and refuses a limit below that", async () => {
    const { snapshot_id } = await cut(await createFilled(world, "source"));
    const range = (required_bytes: number, limit_bytes: number) => ({
      capacity_range: { required_bytes: String(required_bytes), limit_bytes: String(limit_bytes) },
    });
    await expect(copy(fromSnapshot(snapshot_id), range(1, SIZE - 1))).rejects.toMatchObject({
      kind: "range",
    });
    const { volume } = await copy(fromSnapshot(snapshot_id), range(3 * SIZE, 0));
    expect(volume.capacity_bytes).toBe(String(3 * SIZE));
    const { volume: small } = await copy(fromSnapshot(snapshot_id), { name: "small", ...range(1, 0) });
    expect(small.capacity_bytes).toBe(String(SIZE));
  });

  test.each([
    ["an unknown snapshot", fromSnapshot("unknown"), "not-found"],
    ["an unknown volume", fromVolume("../../etc"), "not-found"],
    [
      "a snapshot of this node that is gone",
      fromSnapshot(snapshotIdFor({ nodeId: "node-1", name: "x" })),
      "not-found",
    ],
    [
      "a volume of this node that is gone",
      fromVolume(volumeIdFor({ nodeId: "node-1", pool: "default", name: "x" })),
      "not-found",
    ],
    ["a snapshot of another node", fromSnapshot(snapshotIdFor({ nodeId: "node-2", name: "x" })), "exhausted"],
    [
      "a volume of another node",
      fromVolume(volumeIdFor({ nodeId: "node-2", pool: "default", name: "x" })),
      "exhausted",
    ],
    ["a snapshot without an id", fromSnapshot(""), "invalid"],
    ["a volume without an id", fromVolume(""), "invalid"],
    ["neither", { snapshot: null, volume: null }, "invalid"],
  ])("of %s is refused, and makes nothing", async (_, source, kind) => {
    await expect(copy(source)).rejects.toMatchObject({ kind });
    expect(await world.files.list(`${POOL}/volumes`)).toEqual([]);
    expect((await world.settled()).reservedBytes).toBe(0);
  });

  test("is refused for another pool, another access type and another file system than its source's", async () => {
    const { snapshot_id } = await cut(await createFilled(world, "source"));
    const source = fromSnapshot(snapshot_id);
    const [capability] = requests.create("copy").volume_capabilities;
    const block = { volume_capabilities: [{ ...capability, mount: null, block: {} }] };
    await expect(copy(source, block)).rejects.toMatchObject({
      kind: "invalid",
      message: expect.stringContaining("ask for block, but the source is for mount"),
    });
    await expect(copy(source, { parameters: { pool: "other" } })).rejects.toMatchObject({
      kind: "invalid",
      message: expect.stringContaining('the source lies in pool "default"'),
    });
    await expect(copy(source, { parameters: { fsType: "xfs" } })).rejects.toMatchObject({ kind: "invalid" });
  });

  test("of a volume in use is refused with the remedy, unless the class is content with one moment per file", async () => {
    const id = await createFilled(world, "source");
    await publish(id);
    await expect(copy(fromVolume(id))).rejects.toMatchObject({
      kind: "precondition",
      message: expect.stringContaining("consistency: per-file in the StorageClass"),
    });
    await copy(fromVolume(id), { parameters: { consistency: "per-file" } });
  });

  test("goes on when its caller is gone, is told of, and is made once", async () => {
    const { snapshot_id } = await cut(await createFilled(world, "source"));
    const release = holdCopies();
    await late(copy(fromSnapshot(snapshot_id)));
    await expect(copy(fromSnapshot("other"))).rejects.toMatchObject({ kind: "conflict" });
    release();
    const [one, other] = await Promise.all([
      copy(fromSnapshot(snapshot_id)),
      copy(fromSnapshot(snapshot_id)),
    ]);
    expect(one).toEqual(other);
    expect(await world.files.list(`${POOL}/volumes`)).toHaveLength(2);
  });

  test("a failure of a copy in the background is told to the retry", async () => {
    const { snapshot_id } = await cut(await createFilled(world, "source"));
    const gate = Promise.withResolvers<void>();
    world.copier.onEntry = () => gate.promise;
    await late(copy(fromSnapshot(snapshot_id)));
    gate.reject(Object.assign(new Error("broken"), { kind: "io" }));
    await settle();
    world.copier.onEntry = undefined;
    await expect(copy(fromSnapshot(snapshot_id))).rejects.toThrow("broken");
    await copy(fromSnapshot(snapshot_id));
  });
});

describe("GetSnapshot", () => {
  const capabilities = async () => {
    const answer = await world.call<{ capabilities: { rpc: { type: string } }[] }>(
      "Controller.ControllerGetCapabilities",
    );
    return answer.capabilities.map(({ rpc }) => rpc.type);
  };
  const get = (snapshot_id: string) =>
    world.call<{ snapshot: Snapshot }>("Controller.GetSnapshot", { snapshot_id });

  test("is not offered, unless the settings say so", async () => {
    expect(await capabilities()).not.toContain("GET_SNAPSHOT");
    await expect(get("x")).rejects.toMatchObject({ kind: "unsupported" });
  });

  test("answers the snapshot, NOT_FOUND for what is none, and wants an id", async () => {
    world = createWorld({ getSnapshot: true });
    await world.driver.scan();
    expect(await capabilities()).toContain("GET_SNAPSHOT");
    const snapshot = await cut(await createFilled(world, "source"));
    expect(await get(snapshot.snapshot_id)).toEqual({ snapshot });
    const gone = snapshotIdFor({ nodeId: "node-1", name: "gone" });
    for (const id of [gone, "../x"]) await expect(get(id)).rejects.toMatchObject({ kind: "not-found" });
    await expect(get("")).rejects.toMatchObject({ kind: "invalid" });
  });
});

test("an id tells the node that it was made on, and nothing else", () => {
  const id = snapshotIdFor({ nodeId: "node-1", name: "n".repeat(128) });
  expect(id).toMatch(/^ts-[a-z2-7]{8}-[a-z2-7]{26}$/);
  expect([isMadeOn("node-1", id), isMadeOn("node-2", id)]).toEqual([true, false]);
});
