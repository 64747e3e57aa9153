/** The rules of the CSI specification for Identity and Controller, over a real socket: one rule in each title. */
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  blockCapability,
  type CreateVolumeResponse,
  capability,
  createRequest,
  MIB,
  oddIds,
  publishRequest,
  stagingFor,
  unusedId,
  type Volume,
} from "./csi/requests.ts";
import { type Subject, startSubject } from "./csi/subject.ts";

const key = "topology.local.csi.trivet.dev/node";
let subject: Subject;

beforeAll(async () => {
  subject = await startSubject({ morePools: (root) => [`second=${root}/second,requireMount=false`] });
  await subject.server.ready;
});

afterAll(async () => subject.stop());

const call = <T>(service: string, method: string, request?: object) =>
  subject.client.call<T>(service, method, request);
const refused = async (service: string, method: string, request?: object) =>
  (await subject.client.refused(service, method, request)).code;

async function create(name: string, changes: object = {}): Promise<Volume> {
  return (await call<CreateVolumeResponse>("Controller", "CreateVolume", createRequest(name, changes)))
    .volume;
}

describe("Identity", () => {
  test("GetPluginInfo: name is a domain of at most 63 characters that begins and ends with a letter", async () => {
    const info = await call<{ name: string; vendor_version: string }>("Identity", "GetPluginInfo");
    expect(info.name).toMatch(/^[a-zA-Z][A-Za-z0-9.-]{1,61}[a-zA-Z]$/);
    expect(info).toMatchObject({ name: "local.csi.trivet.dev", vendor_version: "1.2.3" });
  });

  test("GetPluginCapabilities: names the controller service, accessibility constraints and online expansion, and nothing unknown", async () => {
    const { capabilities } = await call<{ capabilities: unknown[] }>("Identity", "GetPluginCapabilities");
    expect(capabilities).toMatchObject([
      { service: { type: "CONTROLLER_SERVICE" } },
      { service: { type: "VOLUME_ACCESSIBILITY_CONSTRAINTS" } },
      { volume_expansion: { type: "ONLINE" } },
    ]);
  });

  test("Probe: ready is true once the driver has started", async () => {
    expect(await call("Identity", "Probe")).toEqual({ ready: { value: true } });
  });
});

describe("capabilities", () => {
  test("ControllerGetCapabilities: names what is offered", async () => {
    const { capabilities } = await call<{ capabilities: { rpc: { type: string } }[] }>(
      "Controller",
      "ControllerGetCapabilities",
    );
    expect(capabilities.map(({ rpc }) => rpc.type)).toEqual(
      expect.arrayContaining([
        ...["CREATE_DELETE_VOLUME", "LIST_VOLUMES", "GET_CAPACITY", "SINGLE_NODE_MULTI_WRITER"],
        ...["GET_VOLUME", "VOLUME_CONDITION"],
      ]),
    );
  });

  test("NodeGetCapabilities: names what is offered", async () => {
    const { capabilities } = await call<{ capabilities: { rpc: { type: string } }[] }>(
      "Node",
      "NodeGetCapabilities",
    );
    expect(capabilities.map(({ rpc }) => rpc.type)).toEqual([
      ...["STAGE_UNSTAGE_VOLUME", "GET_VOLUME_STATS", "EXPAND_VOLUME", "VOLUME_CONDITION"],
      ...["SINGLE_NODE_MULTI_WRITER", "VOLUME_MOUNT_GROUP"],
    ]);
  });

  test("every method that no capability stands for answers UNIMPLEMENTED", async () => {
    const notOffered = [
      ...["ControllerPublishVolume", "ControllerUnpublishVolume", "ControllerExpandVolume"],
      ...["ControllerModifyVolume", "GetSnapshot"],
    ];
    for (const method of notOffered) expect(await refused("Controller", method)).toBe("UNIMPLEMENTED");
    for (const method of subject.client.methods("GroupController")) {
      expect([method, await refused("GroupController", method)]).toEqual([method, "UNIMPLEMENTED"]);
    }
  });

  test("NodeGetInfo: a node id, no negative volume limit, and the topology that CreateVolume answers", async () => {
    const info = await call<{ node_id: string; max_volumes_per_node: string; accessible_topology: object }>(
      "Node",
      "NodeGetInfo",
    );
    const topology = { segments: { [key]: "node-1" } };
    expect(info).toEqual({ node_id: "node-1", max_volumes_per_node: "0", accessible_topology: topology });
    expect((await create("node-info")).accessible_topology).toEqual([topology]);
  });
});

describe("CreateVolume: what is missing or wrong is INVALID_ARGUMENT and names the field", () => {
  const rows: [string, object, RegExp][] = [
    ["no name", { name: "" }, /^name is missing/],
    ["a name of 129 bytes", { name: "n".repeat(129) }, /^name is longer/],
    ["a control character in the name", { name: "a\nb" }, /^name holds/],
    ["no capabilities", { volume_capabilities: [] }, /^volume_capabilities is empty/],
    [
      "a capability without access type",
      { volume_capabilities: [{ access_mode: { mode: 1 } }] },
      /\[0\]\.access_type/,
    ],
    [
      "a capability without access mode",
      { volume_capabilities: [{ mount: {} }] },
      /\[0\]\.access_mode is missing/,
    ],
    [
      "access type block, in pools of directories",
      { volume_capabilities: [blockCapability] },
      /^volume_capabilities asks for block, which pool "default"/,
    ],
    [
      "access type block beside mount",
      { volume_capabilities: [capability(), blockCapability] },
      /^volume_capabilities ask for mount and block/,
    ],
    [
      "one bad capability among good ones",
      { volume_capabilities: [capability(), capability("UNKNOWN")] },
      /\[1\]\.access_mode/,
    ],
    [
      "MULTI_NODE_READER_ONLY",
      { volume_capabilities: [capability("MULTI_NODE_READER_ONLY")] },
      /is MULTI_NODE_READ/,
    ],
    [
      "MULTI_NODE_SINGLE_WRITER",
      { volume_capabilities: [capability("MULTI_NODE_SINGLE_WRITER")] },
      /is MULTI_NODE_S/,
    ],
    [
      "MULTI_NODE_MULTI_WRITER",
      { volume_capabilities: [capability("MULTI_NODE_MULTI_WRITER")] },
      /is MULTI_NODE_M/,
    ],
    [
      "a mount flag of a file system",
      { volume_capabilities: [capability(undefined, ["nobarrier"])] },
      /mount_flags\[0\] is not allowed/,
    ],
    [
      "a file system type, in pools of directories",
      { volume_capabilities: [{ mount: { fs_type: "ext4" }, access_mode: { mode: 1 } }] },
      /^fsType is "ext4", but pool "default" offers none/,
    ],
    ["an unknown parameter", { parameters: { colour: "red" } }, /^parameters\.colour is "red"/],
    ["an empty pool", { parameters: { pool: "" } }, /^parameters\.pool is ""/],
    ["a mutable parameter", { mutable_parameters: { iops: "3" } }, /^mutable_parameters\.iops is "3"/],
    [
      "required above limit",
      { capacity_range: { required_bytes: 2, limit_bytes: 1 } },
      /^capacity_range requires 2/,
    ],
    ["a negative size", { capacity_range: { required_bytes: -1 } }, /^capacity_range\.required_bytes is -1/],
  ];

  test.each(rows)("%s", async (_, changes, message) => {
    const account = async () =>
      (await subject.server.pools()).map(({ volumes, reservedBytes }) => ({ volumes, reservedBytes }));
    const before = await account();
    const failure = await subject.client.refused(
      "Controller",
      "CreateVolume",
      createRequest("wrong", changes),
    );
    expect(failure).toEqual({ code: "INVALID_ARGUMENT", details: expect.stringMatching(message) });
    expect(await account()).toEqual(before);
  });

  test("a pool that this node lacks is RESOURCE_EXHAUSTED: another node may have it, and the pod can go there", async () => {
    const request = createRequest("elsewhere", { parameters: { pool: "nosuch" } });
    expect(await subject.client.refused("Controller", "CreateVolume", request)).toEqual({
      code: "RESOURCE_EXHAUSTED",
      details: 'parameters.pool is "nosuch", and this node has default, second',
    });
  });

  test("a size that no pool can ever have is OUT_OF_RANGE", async () => {
    const request = createRequest("vast", { capacity_range: { required_bytes: "9223372036854775807" } });
    expect(await refused("Controller", "CreateVolume", request)).toBe("OUT_OF_RANGE");
  });

  test("a size that this pool does not have is RESOURCE_EXHAUSTED", async () => {
    const request = createRequest("large", { capacity_range: { required_bytes: 2 ** 50 } });
    expect(await refused("Controller", "CreateVolume", request)).toBe("RESOURCE_EXHAUSTED");
  });
});

describe("CreateVolume: the answer", () => {
  test.each([
    ["the required size, exactly", { required_bytes: 12_345_678 }, "12345678"],
    ["the required size where there is a limit too", { required_bytes: 5, limit_bytes: 10 }, "5"],
    ["1 GiB where no size is asked", undefined, String(2 ** 30)],
    [
      "the limit where it is below the default and nothing is required",
      { limit_bytes: 7 * MIB },
      String(7 * MIB),
    ],
  ])("capacity is %s", async (title, capacity_range, expected) => {
    expect((await create(title, { capacity_range })).capacity_bytes).toBe(expected);
  });

  test("the same name and the same wishes give the same volume", async () => {
    const first = await create("twice");
    expect(await create("twice")).toEqual(first);
    expect(await create("twice", { capacity_range: undefined })).toEqual(first);
    expect(await create("twice", { capacity_range: { required_bytes: MIB, limit_bytes: 10 * MIB } })).toEqual(
      first,
    );
  });

  test.each([
    ["a larger size", { capacity_range: { required_bytes: 20 * MIB, limit_bytes: 20 * MIB } }],
    ["a limit below its size", { capacity_range: { limit_bytes: 9 * MIB } }],
    ["another pool", { parameters: { pool: "second" } }],
  ])("the same name with %s is ALREADY_EXISTS", async (title, changes) => {
    await create(`differs: ${title}`);
    expect(await refused("Controller", "CreateVolume", createRequest(`differs: ${title}`, changes))).toBe(
      "ALREADY_EXISTS",
    );
  });

  test.each([
    "x".repeat(128),
    "Größe 日本語 \u{1F600}",
    "..",
    "../../etc/passwd",
    "/",
    "a/b",
    ".hidden",
    " ",
  ])("the name %j gives an id that is safe and at most 128 bytes", async (name) => {
    const { volume_id } = await create(name);
    expect(volume_id).toMatch(/^[a-z0-9-]{1,63}$/);
    expect((await stat(join(subject.pool, "volumes", volume_id, "data"))).isDirectory()).toBe(true);
  });

  test("different names give different volumes, and one pool's are not another's", async () => {
    const ids = [
      await create("one"),
      await create("two"),
      await create("three", { parameters: { pool: "second" } }),
    ];
    expect(new Set(ids.map(({ volume_id }) => volume_id)).size).toBe(3);
    expect((await stat(join(subject.root, "second", "volumes", ids[2]?.volume_id ?? ""))).isDirectory()).toBe(
      true,
    );
  });

  test.each([
    "SINGLE_NODE_WRITER",
    "SINGLE_NODE_READER_ONLY",
    "SINGLE_NODE_SINGLE_WRITER",
    "SINGLE_NODE_MULTI_WRITER",
  ])("access mode %s is accepted", async (mode) => {
    await create(`mode ${mode}`, { volume_capabilities: [capability(mode)] });
  });

  test("what external-provisioner tells of the claim is accepted and recorded", async () => {
    const { volume_id } = await create("claimed", {
      parameters: {
        "csi.storage.k8s.io/pvc/name": "data",
        "csi.storage.k8s.io/pvc/namespace": "prod",
        "csi.storage.k8s.io/pv/name": "pvc-1",
      },
    });
    const record = await readFile(join(subject.pool, "volumes", volume_id, "meta.json"), "utf8");
    expect(JSON.parse(record)).toMatchObject({ claim: { namespace: "prod", name: "data" }, name: "claimed" });
  });

  test.each<[string, object]>([
    ["no requirement", {}],
    [
      "our segment among the requisite ones",
      { requisite: [{ segments: { [key]: "other" } }, { segments: { [key]: "node-1" } }] },
    ],
    ["only preferred segments, of another node", { preferred: [{ segments: { [key]: "other" } }] }],
  ])("accessibility_requirements with %s are met on this node", async (title, accessibility_requirements) => {
    const volume = await create(`topology ${title}`, { accessibility_requirements });
    expect(volume.accessible_topology).toEqual([{ segments: { [key]: "node-1" } }]);
  });

  test.each<[string, object]>([
    ["another node", { requisite: [{ segments: { [key]: "node-2" } }] }],
    ["a key of somebody else", { requisite: [{ segments: { zone: "z" } }] }],
    ["our node in another zone", { requisite: [{ segments: { [key]: "node-1", zone: "z" } }] }],
    ["a place without segments", { requisite: [{ segments: {} }] }],
  ])(
    "accessibility_requirements that ask for %s are RESOURCE_EXHAUSTED",
    async (_, accessibility_requirements) => {
      const request = createRequest("elsewhere", { accessibility_requirements });
      expect(await refused("Controller", "CreateVolume", request)).toBe("RESOURCE_EXHAUSTED");
    },
  );

  test("of many equal calls at once each gets the one volume or ABORTED", async () => {
    const attempts = Array.from({ length: 8 }, () =>
      create("at once").catch(({ code }: { code: number }) => code),
    );
    const outcomes = await Promise.all(attempts);
    const ids = outcomes.flatMap((outcome) => (typeof outcome === "object" ? outcome.volume_id : []));
    expect(new Set(ids).size).toBe(1);
    expect(outcomes.filter((outcome) => typeof outcome === "number").every((code) => code === 10)).toBe(true);
  });
});

describe("DeleteVolume", () => {
  test("a missing id is INVALID_ARGUMENT", async () => {
    expect(await refused("Controller", "DeleteVolume")).toBe("INVALID_ARGUMENT");
  });

  test.each([unusedId, ...oddIds])("an unknown id is OK: %j", async (volume_id) => {
    expect(await call("Controller", "DeleteVolume", { volume_id })).toEqual({});
  });

  test("a deleted volume is gone, a second delete is OK, and the name can be used again for an empty one", async () => {
    const { volume_id } = await create("to delete");
    await writeFile(join(subject.pool, "volumes", volume_id, "data", "file"), "content");
    await call("Controller", "DeleteVolume", { volume_id });
    await expect(stat(join(subject.pool, "volumes", volume_id))).rejects.toMatchObject({ code: "ENOENT" });
    await call("Controller", "DeleteVolume", { volume_id });
    expect((await create("to delete")).volume_id).toBe(volume_id);
    await expect(stat(join(subject.pool, "volumes", volume_id, "data", "file"))).rejects.toMatchObject({
      code: "ENOENT",
    });
  });

  test("a volume in use is FAILED_PRECONDITION, and stays", async () => {
    const { volume_id } = await create("in use");
    const target = await subject.target("in-use");
    await call("Node", "NodePublishVolume", publishRequest(volume_id, target));
    expect(await refused("Controller", "DeleteVolume", { volume_id })).toBe("FAILED_PRECONDITION");
    await call("Node", "NodeUnpublishVolume", { volume_id, target_path: target });
    expect(await refused("Controller", "DeleteVolume", { volume_id })).toBe("FAILED_PRECONDITION");
    const staging_target_path = stagingFor(volume_id, target);
    await call("Node", "NodeUnstageVolume", { volume_id, staging_target_path });
    expect(await call("Controller", "DeleteVolume", { volume_id })).toEqual({});
  });
});

describe("ValidateVolumeCapabilities", () => {
  test("a missing id or no capabilities is INVALID_ARGUMENT", async () => {
    const request = { volume_capabilities: [capability()] };
    expect(await refused("Controller", "ValidateVolumeCapabilities", request)).toBe("INVALID_ARGUMENT");
    const without = { volume_id: unusedId };
    expect(await refused("Controller", "ValidateVolumeCapabilities", without)).toBe("INVALID_ARGUMENT");
  });

  test.each([unusedId, ...oddIds])("an unknown id is NOT_FOUND: %j", async (volume_id) => {
    const request = { volume_id, volume_capabilities: [capability()] };
    expect(await refused("Controller", "ValidateVolumeCapabilities", request)).toBe("NOT_FOUND");
  });

  test("supported capabilities are confirmed as they were asked", async () => {
    const { volume_id } = await create("validated");
    const volume_capabilities = [capability(), capability("SINGLE_NODE_READER_ONLY", ["noexec"])];
    const answer = await call<{ confirmed: { volume_capabilities: unknown[] }; message: string }>(
      "Controller",
      "ValidateVolumeCapabilities",
      { volume_id, volume_capabilities },
    );
    expect(answer.confirmed.volume_capabilities).toMatchObject(volume_capabilities);
    expect(answer.message).toBe("");
  });

  test("what is not supported is not confirmed, and the message says why", async () => {
    const { volume_id } = await create("validated");
    const request = { volume_id, volume_capabilities: [capability(), blockCapability] };
    const answer = await call("Controller", "ValidateVolumeCapabilities", request);
    expect(answer).toEqual({
      confirmed: null,
      message: expect.stringMatching(/was made for access type mount, not block/),
    });
  });
});
