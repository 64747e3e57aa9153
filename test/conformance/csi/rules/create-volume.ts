/** CreateVolume without a content source, DeleteVolume and ValidateVolumeCapabilities. */
import assert from "node:assert/strict";
import { atOnce, expectCode, type Rule, requiredFields, unknownIds } from "../rule.ts";
import type { Volume, World } from "../world.ts";

const needs = ["controller:CREATE_DELETE_VOLUME"] as const;
const exactly = (bytes: number) => ({ required_bytes: bytes, limit_bytes: bytes });

async function sameName(world: World, first: object, second: object): Promise<[Volume, object]> {
  const request = world.createRequest(first);
  const { volume } = await world.call<{ volume: Volume }>("CreateVolume", request);
  return [world.adopt(volume), { ...request, ...second }];
}

function badCapability(title: string, capability: (world: World) => object): Rule {
  return {
    title: `CreateVolume: ${title} is INVALID_ARGUMENT`,
    needs,
    async run(world) {
      const request = world.createRequest({ volume_capabilities: [capability(world)] });
      await expectCode(world, ["CreateVolume", request], "INVALID_ARGUMENT");
    },
  };
}

export const createVolumeRules: readonly Rule[] = [
  ...requiredFields({
    method: "CreateVolume",
    needs,
    request: async (world) => world.createRequest(),
    fields: ["name", "volume_capabilities"],
  }),
  badCapability("a capability without access type", () => ({ access_mode: { mode: "SINGLE_NODE_WRITER" } })),
  badCapability("a capability without access mode", (world) => world.capability("", { access_mode: null })),
  badCapability("the access mode UNKNOWN", (world) => world.capability("UNKNOWN")),
  {
    title: "CreateVolume: answers an id of 1 to 128 bytes and at least the bytes that are required",
    needs,
    async run(world) {
      const volume = await world.create();
      const bytes = Buffer.byteLength(volume.volume_id);
      assert.ok(bytes >= 1 && bytes <= 128, `${bytes} bytes`);
      const capacity = Number(volume.capacity_bytes);
      assert.ok(capacity === 0 || capacity >= world.options.sizeBytes, `${capacity} bytes`);
    },
  },
  {
    title: "CreateVolume: with a limit, the volume is not larger than that",
    needs,
    async run(world) {
      const { sizeBytes } = world.options;
      const capacity_range = { required_bytes: sizeBytes, limit_bytes: 2 * sizeBytes };
      const { capacity_bytes } = await world.create({ capacity_range });
      assert.ok(Number(capacity_bytes) <= 2 * sizeBytes, `${capacity_bytes} bytes`);
    },
  },
  {
    title: "CreateVolume: more required than the limit allows is refused",
    needs,
    async run(world) {
      const { sizeBytes } = world.options;
      const capacity_range = { required_bytes: 2 * sizeBytes, limit_bytes: sizeBytes };
      const request = world.createRequest({ capacity_range });
      await expectCode(world, ["CreateVolume", request], "INVALID_ARGUMENT", "OUT_OF_RANGE");
    },
  },
  {
    title: "CreateVolume: a negative size is refused",
    needs,
    async run(world) {
      const request = world.createRequest({ capacity_range: { required_bytes: -1 } });
      await expectCode(world, ["CreateVolume", request], "INVALID_ARGUMENT", "OUT_OF_RANGE");
    },
  },
  {
    title: "CreateVolume: a size that nothing can hold is OUT_OF_RANGE or RESOURCE_EXHAUSTED",
    needs,
    async run(world) {
      const request = world.createRequest({ capacity_range: { required_bytes: 2 ** 61 } });
      await expectCode(world, ["CreateVolume", request], "OUT_OF_RANGE", "RESOURCE_EXHAUSTED");
    },
  },
  {
    title: "CreateVolume: repeated with the same name and compatible arguments it answers the same volume",
    needs,
    async run(world) {
      const [first, request] = await sameName(world, {}, {});
      const { volume } = await world.call<{ volume: Volume }>("CreateVolume", request);
      assert.deepEqual(volume, first);
    },
  },
  {
    title: "CreateVolume: the same name with another size is ALREADY_EXISTS",
    needs,
    async run(world) {
      const { sizeBytes } = world.options;
      const first = { capacity_range: exactly(sizeBytes) };
      const [, request] = await sameName(world, first, { capacity_range: exactly(2 * sizeBytes) });
      await expectCode(world, ["CreateVolume", request], "ALREADY_EXISTS");
    },
  },
  {
    title: "CreateVolume: a name of 128 bytes is served, and its id has no more than 128",
    needs,
    async run(world) {
      const name = world.name("long").padEnd(128, "x");
      const { volume_id } = await world.create({ name });
      assert.ok(Buffer.byteLength(volume_id) <= 128);
    },
  },
  {
    title: "CreateVolume: a name may be any Unicode, and is not a path",
    needs,
    async run(world) {
      for (const odd of ["\u00e4\u{1F600} \u4e2d", "../../x", "a/b", "."]) {
        await world.create({ name: `${odd}${world.name("odd")}` });
      }
    },
  },
  {
    title: "CreateVolume: of equal calls at once each answers the one volume or ABORTED",
    needs,
    async run(world) {
      const request = world.createRequest();
      const outcomes = await atOnce(8, () => world.outcome("CreateVolume", request));
      const { volume } = await world.call<{ volume: Volume }>("CreateVolume", request);
      world.adopt(volume);
      for (const { code, details } of outcomes) assert.ok(["OK", "ABORTED"].includes(code), details);
    },
  },
  {
    title: "CreateVolume: different names at once give different volumes",
    needs,
    async run(world) {
      const volumes = await atOnce(8, () => world.create());
      assert.equal(new Set(volumes.map(({ volume_id }) => volume_id)).size, 8);
    },
  },
  {
    title:
      "CreateVolume: a volume that not every node reaches says where it is accessible, as NodeGetInfo does",
    needs: [...needs, "plugin:VOLUME_ACCESSIBILITY_CONSTRAINTS"],
    async run(world) {
      type Info = { accessible_topology: Volume["accessible_topology"][number] };
      const { accessible_topology: own } = await world.call<Info>("NodeGetInfo");
      const requirements = { requisite: [own], preferred: [own] };
      const volume = await world.create({ accessibility_requirements: requirements });
      assert.deepEqual(volume.accessible_topology, [own]);
    },
  },
  {
    title:
      "CreateVolume: a requisite that no segment of the driver meets is RESOURCE_EXHAUSTED or INVALID_ARGUMENT",
    needs: [...needs, "plugin:VOLUME_ACCESSIBILITY_CONSTRAINTS"],
    async run(world) {
      type Info = { accessible_topology: Volume["accessible_topology"][number] };
      const { accessible_topology: own } = await world.call<Info>("NodeGetInfo");
      const segments = Object.fromEntries(Object.keys(own.segments).map((key) => [key, "elsewhere"]));
      const request = world.createRequest({ accessibility_requirements: { requisite: [{ segments }] } });
      await expectCode(world, ["CreateVolume", request], "RESOURCE_EXHAUSTED", "INVALID_ARGUMENT");
    },
  },
];

export const deleteVolumeRules: readonly Rule[] = [
  ...requiredFields({
    method: "DeleteVolume",
    needs,
    request: async () => ({ volume_id: "x" }),
    fields: ["volume_id"],
  }),
  ...unknownIds.map(
    (volume_id): Rule => ({
      title: `DeleteVolume: the unknown id ${JSON.stringify(volume_id.slice(0, 16))} is OK`,
      needs,
      run: (world) => expectCode(world, ["DeleteVolume", { volume_id }], "OK"),
    }),
  ),
  {
    title: "DeleteVolume: repeated for a volume that is gone it is OK",
    needs,
    async run(world) {
      const { volume_id } = await world.create();
      for (let count = 0; count < 3; count++) await expectCode(world, ["DeleteVolume", { volume_id }], "OK");
    },
  },
  {
    title: "DeleteVolume: a volume that is published is FAILED_PRECONDITION, and stays",
    needs,
    async run(world) {
      const volume = await world.create();
      const place = await world.place();
      await world.publish(volume, place);
      await expectCode(world, ["DeleteVolume", { volume_id: volume.volume_id }], "FAILED_PRECONDITION");
      await world.unpublish(volume, place);
      await world.publish(volume, place);
    },
  },
  {
    title: "DeleteVolume: of equal calls at once each is OK or ABORTED",
    needs,
    async run(world) {
      const { volume_id } = await world.create();
      const outcomes = await atOnce(6, () => world.outcome("DeleteVolume", { volume_id }));
      for (const { code, details } of outcomes) assert.ok(["OK", "ABORTED"].includes(code), details);
    },
  },
];

export const validateRules: readonly Rule[] = [
  ...requiredFields({
    method: "ValidateVolumeCapabilities",
    needs,
    async request(world) {
      const { volume_id } = await world.create();
      return { volume_id, volume_capabilities: [world.capability()] };
    },
    fields: ["volume_id", "volume_capabilities"],
  }),
  ...unknownIds.map(
    (volume_id): Rule => ({
      title: `ValidateVolumeCapabilities: the unknown id ${JSON.stringify(volume_id.slice(0, 16))} is NOT_FOUND`,
      needs,
      run: (world) =>
        expectCode(
          world,
          ["ValidateVolumeCapabilities", { volume_id, volume_capabilities: [world.capability()] }],
          "NOT_FOUND",
        ),
    }),
  ),
  {
    title: "ValidateVolumeCapabilities: what the volume was made with is confirmed",
    needs,
    async run(world) {
      const { volume_id, volume_context } = await world.create();
      const request = { volume_id, volume_context, volume_capabilities: [world.capability()] };
      type Answer = { confirmed: { volume_capabilities: object[] } | null };
      const { confirmed } = await world.call<Answer>("ValidateVolumeCapabilities", request);
      assert.equal(confirmed?.volume_capabilities.length, 1);
    },
  },
];
