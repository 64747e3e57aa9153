/** Identity, and what each service says it can. */
import assert from "node:assert/strict";
import { expectCode, NotApplicable, type Rule } from "../rule.ts";

const known: Readonly<Record<string, readonly string[]>> = {
  plugin: [
    ...["CONTROLLER_SERVICE", "VOLUME_ACCESSIBILITY_CONSTRAINTS", "GROUP_CONTROLLER_SERVICE"],
    ...["SNAPSHOT_METADATA_SERVICE", "ONLINE", "OFFLINE"],
  ],
  controller: [
    ...["CREATE_DELETE_VOLUME", "PUBLISH_UNPUBLISH_VOLUME", "LIST_VOLUMES", "GET_CAPACITY"],
    ...["CREATE_DELETE_SNAPSHOT", "LIST_SNAPSHOTS", "CLONE_VOLUME", "PUBLISH_READONLY", "EXPAND_VOLUME"],
    ...["LIST_VOLUMES_PUBLISHED_NODES", "VOLUME_CONDITION", "GET_VOLUME", "SINGLE_NODE_MULTI_WRITER"],
    ...["MODIFY_VOLUME", "GET_SNAPSHOT"],
  ],
  node: [
    ...["STAGE_UNSTAGE_VOLUME", "GET_VOLUME_STATS", "EXPAND_VOLUME", "VOLUME_CONDITION"],
    ...["SINGLE_NODE_MULTI_WRITER", "VOLUME_MOUNT_GROUP"],
  ],
};

/** The method that must not be there unless its capability is. */
const capabilityOf: Readonly<Record<string, string>> = {
  CreateVolume: "controller:CREATE_DELETE_VOLUME",
  DeleteVolume: "controller:CREATE_DELETE_VOLUME",
  ControllerPublishVolume: "controller:PUBLISH_UNPUBLISH_VOLUME",
  ControllerUnpublishVolume: "controller:PUBLISH_UNPUBLISH_VOLUME",
  ListVolumes: "controller:LIST_VOLUMES",
  GetCapacity: "controller:GET_CAPACITY",
  CreateSnapshot: "controller:CREATE_DELETE_SNAPSHOT",
  DeleteSnapshot: "controller:CREATE_DELETE_SNAPSHOT",
  ListSnapshots: "controller:LIST_SNAPSHOTS",
  GetSnapshot: "controller:GET_SNAPSHOT",
  ControllerExpandVolume: "controller:EXPAND_VOLUME",
  ControllerGetVolume: "controller:GET_VOLUME",
  ControllerModifyVolume: "controller:MODIFY_VOLUME",
  NodeStageVolume: "node:STAGE_UNSTAGE_VOLUME",
  NodeUnstageVolume: "node:STAGE_UNSTAGE_VOLUME",
  NodeGetVolumeStats: "node:GET_VOLUME_STATS",
  NodeExpandVolume: "node:EXPAND_VOLUME",
};

function knownOnly(method: string, prefix: string, needs: readonly string[] = []): Rule {
  return {
    title: `${method}: every capability is one that the specification knows, and named once`,
    needs,
    async run({ call }) {
      type Answer = { capabilities: Record<string, { type: string } | null>[] };
      const { capabilities } = await call<Answer>(method);
      const named = capabilities.map((one) => one.rpc ?? one.service ?? one.volume_expansion);
      const types = named.map((one) => String(one?.type));
      assert.deepEqual(
        types.filter((type) => !known[prefix]?.includes(type)),
        [],
      );
      assert.equal(new Set(types).size, types.length, `named twice: ${types.join(", ")}`);
    },
  };
}

export const identityRules: readonly Rule[] = [
  {
    title: "GetPluginInfo: the name is a domain of at most 63 characters that begins and ends with a letter",
    async run({ call }) {
      const { name } = await call<{ name: string }>("GetPluginInfo");
      assert.match(name, /^[A-Za-z]([A-Za-z0-9.-]{0,61}[A-Za-z])?$/);
    },
  },
  {
    title: "GetPluginInfo: the vendor's version is given",
    async run({ call }) {
      assert.notEqual((await call<{ vendor_version: string }>("GetPluginInfo")).vendor_version, "");
    },
  },
  knownOnly("GetPluginCapabilities", "plugin"),
  knownOnly("ControllerGetCapabilities", "controller", ["plugin:CONTROLLER_SERVICE"]),
  knownOnly("NodeGetCapabilities", "node"),
  {
    title: "Probe: answers OK, and ready unless it says otherwise",
    async run({ call }) {
      const { ready } = await call<{ ready: { value: boolean } | null }>("Probe");
      assert.notEqual(ready?.value, false);
    },
  },
  ...Object.entries(capabilityOf).map(
    ([method, capability]): Rule => ({
      title: `${method}: without ${capability.split(":")[1]} it answers UNIMPLEMENTED`,
      async run(world) {
        if (world.has(capability)) throw new NotApplicable("the driver offers it");
        await expectCode(world, [method, {}], "UNIMPLEMENTED");
      },
    }),
  ),
  {
    title: "NodeGetInfo: a node id of 1 to 256 bytes, no negative limit of volumes",
    async run({ call }) {
      type Info = { node_id: string; max_volumes_per_node: string };
      const info = await call<Info>("NodeGetInfo");
      const bytes = Buffer.byteLength(info.node_id);
      assert.ok(bytes >= 1 && bytes <= 256, `${bytes} bytes`);
      assert.ok(Number(info.max_volumes_per_node) >= 0);
    },
  },
  {
    title:
      "NodeGetInfo: with VOLUME_ACCESSIBILITY_CONSTRAINTS, a topology of keys and values of at most 63 characters",
    needs: ["plugin:VOLUME_ACCESSIBILITY_CONSTRAINTS"],
    async run({ call }) {
      type Info = { accessible_topology: { segments: Record<string, string> } | null };
      const segments = Object.entries((await call<Info>("NodeGetInfo")).accessible_topology?.segments ?? {});
      assert.notEqual(segments.length, 0);
      for (const [key, value] of segments) {
        const [name = "", prefix = ""] = key.split("/").reverse();
        assert.ok(name.length <= 63 && prefix.length <= 63, key);
        assert.match(value, /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/);
      }
    },
  },
];
