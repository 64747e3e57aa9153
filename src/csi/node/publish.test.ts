import { expect, test } from "vitest";
import type { MountInfo } from "../../host/mount.ts";
import type { Backend } from "../backend/backend.ts";
import type { VolumeId } from "../volume/id.ts";
import type { VolumeRecord } from "../volume/record.ts";
import { type Publication, planPublish } from "./publish.ts";

const line = (mountPoint: string, more: Partial<MountInfo>): MountInfo => ({
  ...{ id: 1, parentId: 0, device: "8:1", root: "/", mountPoint, options: ["rw"], fsType: "ext4" },
  ...{ source: "/dev/sda1", superOptions: ["rw"], ...more },
});

test("the inline image of a pod is published once: the mount of its pool has flags that it need not have", () => {
  const record: VolumeRecord = {
    ...{ id: `tv-${"a".repeat(8)}-${"b".repeat(26)}` as VolumeId, name: "n", pool: "p", sizeBytes: 1 },
    ...{ created: "", backend: "image", fsType: "ext4" },
  };
  const target = { path: "/kubelet/pods/a/mount", hasParent: true };
  const wanted: Publication = {
    ...{ target, staging: undefined, readOnly: false },
    volume: { placed: { wrapper: `/disk/volumes/${record.id}`, record }, backend: {} as Backend },
    capability: { access: "mount", accessMode: "SINGLE_NODE_WRITER", readOnly: false, flags: [] },
  };
  const source = { kind: "filesystem", device: "/dev/loop3", fsType: "ext4" } as const;
  const table = [
    line("/", {}),
    line("/disk", { device: "8:17", source: "/dev/sdb1", options: ["rw", "nosuid", "nodev", "noexec"] }),
    line(target.path, { device: "7:3", source: "/dev/loop3", options: ["rw", "nosuid", "nodev"] }),
  ];
  expect(planPublish({ table, source }, wanted)).toBe(false);
});
