/** NodeStageVolume to NodeExpandVolume: what the kubelet does with a volume. */
import assert from "node:assert/strict";
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { atOnce, expectCode, type Rule, requiredFields, unknownIds } from "../rule.ts";
import type { World } from "../world.ts";

const make = ["controller:CREATE_DELETE_VOLUME"] as const;
const staging = [...make, "node:STAGE_UNSTAGE_VOLUME"] as const;
const stats = [...make, "node:GET_VOLUME_STATS"] as const;
const expand = [...make, "node:EXPAND_VOLUME"] as const;

const stageRequest = async (world: World) => world.stageRequest(await world.create(), await world.place());
const publishRequest = async (world: World) =>
  world.publishRequest(await world.create(), await world.place());

function unknownVolume(method: string, needs: readonly string[], codes: readonly string[], fields: object) {
  return unknownIds.map(
    (volume_id): Rule => ({
      title: `${method}: the unknown id ${JSON.stringify(volume_id.slice(0, 16))} is ${codes.join(" or ")}`,
      needs,
      async run(world) {
        const { staging: staging_target_path, target: target_path } = await world.place();
        const paths = { staging_target_path, target_path, volume_path: target_path };
        const request = { volume_id, ...paths, volume_capability: world.capability(), ...fields };
        const taken = Object.fromEntries(
          Object.entries(request).filter(([field]) => fieldsOf[method]?.includes(field)),
        );
        await expectCode(world, [method, taken], ...codes);
      },
    }),
  );
}

const fieldsOf: Readonly<Record<string, readonly string[]>> = {
  NodeStageVolume: ["volume_id", "staging_target_path", "volume_capability"],
  NodeUnstageVolume: ["volume_id", "staging_target_path"],
  NodePublishVolume: ["volume_id", "staging_target_path", "target_path", "volume_capability"],
  NodeUnpublishVolume: ["volume_id", "target_path"],
  NodeGetVolumeStats: ["volume_id", "volume_path"],
  NodeExpandVolume: ["volume_id", "volume_path", "capacity_range"],
};

export const stageRules: readonly Rule[] = [
  ...requiredFields({
    method: "NodeStageVolume",
    needs: staging,
    request: stageRequest,
    fields: ["volume_id", "staging_target_path", "volume_capability"],
  }),
  ...unknownVolume("NodeStageVolume", staging, ["NOT_FOUND"], {}),
  {
    title: "NodeStageVolume: repeated ten times it is OK each time",
    needs: staging,
    async run(world) {
      const [volume, place] = [await world.create(), await world.place()];
      for (let count = 0; count < 10; count++) await world.stage(volume, place);
    },
  },
  {
    title: "NodeStageVolume: of equal calls at once each is OK or ABORTED",
    needs: staging,
    async run(world) {
      const [volume, place] = [await world.create(), await world.place()];
      await world.stage(volume, place);
      const request = world.stageRequest(volume, place);
      const outcomes = await atOnce(6, () => world.outcome("NodeStageVolume", request));
      for (const { code, details } of outcomes) assert.ok(["OK", "ABORTED"].includes(code), details);
    },
  },
  ...requiredFields({
    method: "NodeUnstageVolume",
    needs: staging,
    request: async (world) => ({
      volume_id: (await world.create()).volume_id,
      staging_target_path: (await world.place()).staging,
    }),
    fields: ["volume_id", "staging_target_path"],
  }),
  {
    title: "NodeUnstageVolume: a volume that is not staged is OK or NOT_FOUND, also repeated",
    needs: staging,
    async run(world) {
      const [{ volume_id }, place] = [await world.create(), await world.place()];
      const request = { volume_id, staging_target_path: place.staging };
      for (let count = 0; count < 3; count++)
        await expectCode(world, ["NodeUnstageVolume", request], "OK", "NOT_FOUND");
    },
  },
  ...unknownVolume("NodeUnstageVolume", staging, ["OK", "NOT_FOUND"], {}),
];

export const publishRules: readonly Rule[] = [
  ...requiredFields({
    method: "NodePublishVolume",
    needs: make,
    request: publishRequest,
    fields: ["volume_id", "target_path", "volume_capability"],
  }),
  ...unknownVolume("NodePublishVolume", make, ["NOT_FOUND"], {}),
  {
    title: "NodePublishVolume: with STAGE_UNSTAGE_VOLUME, no staging path is FAILED_PRECONDITION",
    needs: staging,
    async run(world) {
      const [volume, place] = [await world.create(), await world.place()];
      await world.stage(volume, place);
      const { staging_target_path: _, ...request } = world.publishRequest(volume, place);
      await expectCode(world, ["NodePublishVolume", request], "FAILED_PRECONDITION");
    },
  },
  {
    title: "NodePublishVolume: repeated ten times with the same arguments it is OK each time",
    needs: make,
    async run(world) {
      const [volume, place] = [await world.create(), await world.place()];
      for (let count = 0; count < 10; count++) await world.publish(volume, place);
    },
  },
  {
    title: "NodePublishVolume: the same target, read-only this time, is ALREADY_EXISTS",
    needs: make,
    access: "mount", // a driver may refuse to show a device read-only at all
    async run(world) {
      const [volume, place] = [await world.create(), await world.place()];
      await world.publish(volume, place);
      const request = world.publishRequest(volume, place, { readonly: true });
      await expectCode(world, ["NodePublishVolume", request], "ALREADY_EXISTS");
    },
  },
  {
    title: "NodePublishVolume: another volume's target is not taken over",
    needs: make,
    async run(world) {
      const [one, other, place] = [await world.create(), await world.create(), await world.place()];
      await world.publish(one, place);
      const elsewhere = await world.place();
      await world.stage(other, elsewhere);
      const request = world.publishRequest(other, { ...elsewhere, target: place.target });
      const { code } = await world.outcome("NodePublishVolume", request);
      assert.notEqual(code, "OK");
    },
  },
  {
    title: "NodePublishVolume: a second target is OK with SINGLE_NODE_MULTI_WRITER",
    needs: [...make, "node:SINGLE_NODE_MULTI_WRITER"],
    async run(world) {
      const changes = { volume_capability: world.capability("SINGLE_NODE_MULTI_WRITER") };
      const volume = await world.create({ volume_capabilities: [changes.volume_capability] });
      const first = await world.place();
      const second = await world.place(first);
      await world.publish(volume, first, changes);
      await world.publish(volume, second, changes);
    },
  },
  {
    title: "NodePublishVolume: a second target is FAILED_PRECONDITION with SINGLE_NODE_SINGLE_WRITER",
    needs: [...make, "node:SINGLE_NODE_MULTI_WRITER"],
    async run(world) {
      const changes = { volume_capability: world.capability("SINGLE_NODE_SINGLE_WRITER") };
      const volume = await world.create({ volume_capabilities: [changes.volume_capability] });
      const first = await world.place();
      const second = await world.place(first);
      await world.publish(volume, first, changes);
      const request = world.publishRequest(volume, second, changes);
      await expectCode(world, ["NodePublishVolume", request], "FAILED_PRECONDITION");
    },
  },
  {
    title: "NodePublishVolume: what is written is there again after unpublish and publish",
    needs: make,
    access: "mount",
    async run(world) {
      const [volume, place] = [await world.create(), await world.place()];
      await world.publish(volume, place);
      await writeFile(join(place.target, "file"), "content");
      await world.unpublish(volume, place);
      await world.unstage(volume, place);
      await world.publish(volume, place);
      assert.equal(await readFile(join(place.target, "file"), "utf8"), "content");
    },
  },
  {
    title: "NodePublishVolume: read-only refuses writes with EROFS",
    needs: make,
    access: "mount",
    async run(world) {
      const [volume, place] = [await world.create(), await world.place()];
      await world.publish(volume, place, { readonly: true });
      await assert.rejects(writeFile(join(place.target, "file"), "content"), { code: "EROFS" });
    },
  },
  {
    title: "NodePublishVolume: a block volume is a block device at the target",
    needs: make,
    access: "block",
    async run(world) {
      const [volume, place] = [await world.create(), await world.place()];
      await world.publish(volume, place);
      assert.ok((await stat(place.target)).isBlockDevice());
    },
  },
];

export const unpublishRules: readonly Rule[] = [
  ...requiredFields({
    method: "NodeUnpublishVolume",
    needs: make,
    request: async (world) => ({
      volume_id: (await world.create()).volume_id,
      target_path: (await world.place()).target,
    }),
    fields: ["volume_id", "target_path"],
  }),
  ...unknownVolume("NodeUnpublishVolume", make, ["OK", "NOT_FOUND"], {}),
  {
    title: "NodeUnpublishVolume: the target does not exist afterwards, and repeating it is OK",
    needs: make,
    async run(world) {
      const [volume, place] = [await world.create(), await world.place()];
      await world.publish(volume, place);
      for (let count = 0; count < 3; count++) {
        await world.unpublish(volume, place);
        await assert.rejects(stat(place.target), { code: "ENOENT" });
      }
    },
  },
  {
    title: "NodeUnpublishVolume: a volume that was never published is OK or NOT_FOUND",
    needs: make,
    async run(world) {
      const [{ volume_id }, { target }] = [await world.create(), await world.place()];
      const request = { volume_id, target_path: target };
      await expectCode(world, ["NodeUnpublishVolume", request], "OK", "NOT_FOUND");
    },
  },
];

interface Usage {
  readonly unit: string;
  readonly total: string;
  readonly used: string;
  readonly available: string;
}

export const statsRules: readonly Rule[] = [
  ...requiredFields({
    method: "NodeGetVolumeStats",
    needs: stats,
    async request(world) {
      const [volume, place] = [await world.create(), await world.place()];
      await world.publish(volume, place);
      return { volume_id: volume.volume_id, volume_path: place.target };
    },
    fields: ["volume_id", "volume_path"],
  }),
  ...unknownVolume("NodeGetVolumeStats", stats, ["NOT_FOUND"], {}),
  {
    title: "NodeGetVolumeStats: at a path where the volume is not it is NOT_FOUND",
    needs: stats,
    async run(world) {
      const [{ volume_id }, place] = [await world.create(), await world.place()];
      for (const volume_path of ["some/path", place.target]) {
        await expectCode(world, ["NodeGetVolumeStats", { volume_id, volume_path }], "NOT_FOUND");
      }
    },
  },
  {
    title: "NodeGetVolumeStats: answers bytes, no more used than there are in all",
    needs: stats,
    async run(world) {
      const [volume, place] = [await world.create(), await world.place()];
      await world.publish(volume, place);
      const request = { volume_id: volume.volume_id, volume_path: place.target };
      const { usage } = await world.call<{ usage: Usage[] }>("NodeGetVolumeStats", request);
      const bytes = usage.find(({ unit }) => unit === "BYTES");
      assert.ok(bytes && Number(bytes.total) > 0, "no total");
      assert.ok(Number(bytes.used) <= Number(bytes.total), `${bytes.used} of ${bytes.total}`);
    },
  },
  {
    title: "NodeGetVolumeStats: with VOLUME_CONDITION, a fresh volume is well",
    needs: [...stats, "node:VOLUME_CONDITION"],
    async run(world) {
      const [volume, place] = [await world.create(), await world.place()];
      await world.publish(volume, place);
      const request = { volume_id: volume.volume_id, volume_path: place.target };
      type Answer = { volume_condition: { abnormal: boolean; message: string } | null };
      const { volume_condition } = await world.call<Answer>("NodeGetVolumeStats", request);
      assert.equal(volume_condition?.abnormal, false, volume_condition?.message);
    },
  },
];

export const expandRules: readonly Rule[] = [
  ...requiredFields({
    method: "NodeExpandVolume",
    needs: expand,
    async request(world) {
      const [volume, place] = [await world.create(), await world.place()];
      await world.publish(volume, place);
      return { volume_id: volume.volume_id, volume_path: place.target };
    },
    fields: ["volume_id", "volume_path"],
  }),
  ...unknownVolume("NodeExpandVolume", expand, ["NOT_FOUND"], { capacity_range: { required_bytes: 1 } }),
  ...(["published", "staged"] as const).map(
    (state): Rule => ({
      title: `NodeExpandVolume: a ${state} volume grows, and repeating it is OK`,
      needs: state === "staged" ? [...expand, "node:STAGE_UNSTAGE_VOLUME"] : expand,
      async run(world) {
        const [volume, place] = [await world.create(), await world.place()];
        const isPublished = state === "published";
        await (isPublished ? world.publish(volume, place) : world.stage(volume, place));
        const required_bytes = 2 * world.options.sizeBytes;
        const request = {
          ...{ volume_id: volume.volume_id, volume_path: isPublished ? place.target : place.staging },
          capacity_range: { required_bytes },
        };
        for (let count = 0; count < 2; count++) {
          const { capacity_bytes } = await world.call<{ capacity_bytes: string }>(
            "NodeExpandVolume",
            request,
          );
          assert.ok(capacity_bytes === "0" || Number(capacity_bytes) >= required_bytes, capacity_bytes);
        }
      },
    }),
  ),
  {
    title: "NodeExpandVolume: without a size it is answered: the volume stays as large as it is",
    needs: expand,
    async run(world) {
      const [volume, place] = [await world.create(), await world.place()];
      await world.publish(volume, place);
      const request = { volume_id: volume.volume_id, volume_path: place.target };
      await expectCode(world, ["NodeExpandVolume", request], "OK");
    },
  },
  {
    title: "NodeExpandVolume: a size that nothing can hold is OUT_OF_RANGE",
    needs: expand,
    async run(world) {
      const [volume, place] = [await world.create(), await world.place()];
      await world.publish(volume, place);
      const request = {
        ...{ volume_id: volume.volume_id, volume_path: place.target },
        capacity_range: { required_bytes: 2 ** 61 },
      };
      await expectCode(world, ["NodeExpandVolume", request], "OUT_OF_RANGE");
    },
  },
];
