/** GetCapacity, ListVolumes and ControllerGetVolume over a real socket: what is promised is kept, and pages are stable. */
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type CreateVolumeResponse, createRequest, MIB, oddIds, unusedId } from "./csi/requests.ts";
import { type Subject, startSubject } from "./csi/subject.ts";

let subject: Subject;

beforeAll(async () => {
  const morePools = (root: string) => [
    `small=${root}/small,requireMount=false,budget=100Mi,backend=directory`,
    `drained=${root}/drained,requireMount=false,budget=100Mi,drain=true,backend=directory`,
  ];
  subject = await startSubject({ settings: ",budget=1Gi,backend=directory", morePools });
  await subject.server.ready;
});

afterAll(async () => subject.stop());

const call = <T>(method: string, request?: object) => subject.client.call<T>("Controller", method, request);
const refused = (method: string, request?: object) => subject.client.refused("Controller", method, request);

interface Capacity {
  readonly available_capacity: string;
  readonly maximum_volume_size: { readonly value: string } | null;
  readonly minimum_volume_size: { readonly value: string } | null;
}

interface Entry {
  readonly volume: { readonly volume_id: string; readonly capacity_bytes: string };
  readonly status: { readonly volume_condition: { readonly abnormal: boolean; readonly message: string } };
}

interface Page {
  readonly entries: readonly Entry[];
  readonly next_token: string;
}

const capacityOf = (pool: string, changes: object = {}) =>
  call<Capacity>("GetCapacity", { parameters: { pool }, ...changes });

async function create(name: string, pool: string, bytes: number): Promise<string> {
  const request = createRequest(name, { parameters: { pool }, capacity_range: { required_bytes: bytes } });
  return (await call<CreateVolumeResponse>("CreateVolume", request)).volume.volume_id;
}

describe("GetCapacity", () => {
  test("of 200 creates at once in a nearly full pool as many succeed as fit, and the rest are RESOURCE_EXHAUSTED", async () => {
    expect((await capacityOf("small")).available_capacity).toBe(String(100 * MIB));
    const kept = await create("most of it", "small", 40 * MIB);
    const outcomes = await Promise.all(
      Array.from({ length: 200 }, (_, n) =>
        create(`crowd ${n}`, "small", 7 * MIB).catch(({ code }: { code: number }) => code),
      ),
    );
    const made = outcomes.filter((outcome) => typeof outcome === "string");
    expect(made).toHaveLength(8);
    expect(new Set(outcomes.filter((outcome) => typeof outcome === "number"))).toEqual(new Set([8]));
    const left = await capacityOf("small");
    expect([left.available_capacity, left.maximum_volume_size?.value]).toEqual([
      String(4 * MIB),
      String(4 * MIB),
    ]);
    await create("the rest", "small", 4 * MIB);
    expect(await capacityOf("small")).toMatchObject({ available_capacity: "0" });
    for (const volume_id of [kept, ...made]) await call("DeleteVolume", { volume_id });
  });

  test("what it says is the largest volume can be made, and one byte more cannot", async () => {
    await expect.poll(async () => (await capacityOf("default")).available_capacity).toBe(String(2 ** 30));
    const { maximum_volume_size, minimum_volume_size } = await capacityOf("default");
    const maximum = Number(maximum_volume_size?.value);
    expect(minimum_volume_size?.value).toBe("1");
    const tooLarge = createRequest("too large", { capacity_range: { required_bytes: maximum + 1 } });
    expect((await refused("CreateVolume", tooLarge)).code).toBe("RESOURCE_EXHAUSTED");
    const volume_id = await create("largest", "default", maximum);
    await call("DeleteVolume", { volume_id });
  });

  test.each<[string, string, object]>([
    ["a pool that is drained", "drained", {}],
    ["a pool that this node lacks", "nosuch", {}],
    [
      "another node",
      "default",
      { accessible_topology: { segments: { "topology.local.csi.trivet.dev/node": "x" } } },
    ],
    [
      "block devices of directories",
      "default",
      { volume_capabilities: [{ block: {}, access_mode: { mode: 1 } }] },
    ],
    ["a backend that the pool is not", "default", { parameters: { pool: "default", backend: "image" } }],
  ])("is 0 for %s", async (_, pool, changes) => {
    expect(await capacityOf(pool, changes)).toMatchObject({ available_capacity: "0" });
  });

  test("of a parameter that there is not is INVALID_ARGUMENT", async () => {
    const { code } = await refused("GetCapacity", { parameters: { colour: "red" } });
    expect(code).toBe("INVALID_ARGUMENT");
  });
});

describe("ListVolumes", () => {
  async function pages(max_entries: number): Promise<string[]> {
    const ids: string[] = [];
    for (let token = ""; ; ) {
      const page: Page = await call("ListVolumes", { max_entries, starting_token: token });
      expect(page.entries.length).toBeLessThanOrEqual(max_entries);
      ids.push(...page.entries.map(({ volume }) => volume.volume_id));
      token = page.next_token;
      if (token === "") return ids;
    }
  }

  test("gives every volume of every pool once, in one order, whatever the size of the pages", async () => {
    const made = [];
    for (let n = 0; n < 7; n++)
      made.push(await create(`listed ${n}`, n % 2 === 0 ? "small" : "default", MIB));
    const all = await call<Page>("ListVolumes");
    const ids = all.entries.map(({ volume }) => volume.volume_id);
    expect(ids).toEqual([...ids].sort());
    expect(ids).toEqual(expect.arrayContaining(made));
    expect(all.next_token).toBe("");
    for (const size of [1, 2, 3, 100]) expect(await pages(size)).toEqual(ids);
  });

  test("goes on where it was when volumes come and go between pages", async () => {
    const { entries, next_token } = await call<Page>("ListVolumes", { max_entries: 2 });
    await call("DeleteVolume", { volume_id: entries[1]?.volume.volume_id });
    const rest = await call<Page>("ListVolumes", { starting_token: next_token });
    const seen = entries.map(({ volume }) => volume.volume_id);
    expect(rest.entries.some(({ volume }) => seen.includes(volume.volume_id))).toBe(false);
  });

  test.each(["x", "after-", `after-../../etc`, unusedId, "\u{1F600}"])(
    "of the token %j is ABORTED",
    async (token) => {
      expect((await refused("ListVolumes", { starting_token: token })).code).toBe("ABORTED");
    },
  );

  test("of a negative number of entries is INVALID_ARGUMENT", async () => {
    expect((await refused("ListVolumes", { max_entries: -1 })).code).toBe("INVALID_ARGUMENT");
  });
});

describe("ControllerGetVolume", () => {
  test.each([unusedId, ...oddIds])("of an unknown volume is NOT_FOUND: %j", async (volume_id) => {
    expect((await refused("ControllerGetVolume", { volume_id })).code).toBe("NOT_FOUND");
  });

  test("tells size and condition, and of a damaged volume what is wrong", async () => {
    const volume_id = await create("looked at", "default", MIB);
    const look = () => call<Entry>("ControllerGetVolume", { volume_id });
    expect(await look()).toMatchObject({
      volume: { volume_id, capacity_bytes: String(MIB) },
      status: { volume_condition: { abnormal: false } },
    });
    const wrapper = join(subject.pool, "volumes", volume_id);
    await rm(join(wrapper, "data"), { recursive: true });
    expect((await look()).status.volume_condition).toMatchObject({
      abnormal: true,
      message: /is no directory/,
    });
    await writeFile(join(wrapper, "meta.json"), "{");
    expect((await look()).status.volume_condition).toMatchObject({
      abnormal: true,
      message: /it is no JSON/,
    });
  });
});
