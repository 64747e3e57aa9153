import { describe, expect, test } from "vitest";
import type { MountInfo } from "../../host/mount.ts";
import { mountsWithin, placeOf } from "./mount-state.ts";

const mount = (mountPoint: string, device: string, root = "/"): MountInfo => ({
  ...{ id: 0, parentId: 0, device, root, mountPoint, options: ["rw"], fsType: "ext4", source: "x" },
  superOptions: ["rw"],
});
const table = [
  mount("/", "8:1"),
  mount("/mnt", "8:2"),
  mount("/mnt/disk", "8:3", "/@sub"),
  mount("/mnt/d", "8:4"),
];

describe("placeOf", () => {
  test.each([
    ["/etc/x", "8:1", "/etc/x"],
    ["/mnt", "8:2", "/"],
    ["/mnt/other/x", "8:2", "/other/x"],
    ["/mnt/disk/volumes/v", "8:3", "/@sub/volumes/v"],
    ["/mnt/disk", "8:3", "/@sub"],
    ["/mnt/diskette", "8:2", "/diskette"],
  ])("%s lies on %s at %s", (path, device, root) => {
    expect(placeOf(table, path)).toMatchObject({ device, root });
  });

  test("takes the later of two mounts on one point", () => {
    expect(placeOf([...table, mount("/mnt", "8:9")], "/mnt/x")).toMatchObject({ device: "8:9", root: "/x" });
  });

  test("knows no place in a table without a root", () => {
    expect(placeOf([], "/x")).toBeUndefined();
  });
});

test("mountsWithin finds mounts of a directory and of what is in it, and not its neighbours", () => {
  const shown = [
    mount("/a", "8:1", "/v"),
    mount("/b", "8:1", "/v/sub"),
    mount("/c", "8:1", "/vv"),
    mount("/d", "8:2", "/v"),
  ];
  const found = mountsWithin(shown, { device: "8:1", root: "/v", options: [] });
  expect(found.map(({ mountPoint }) => mountPoint)).toEqual(["/a", "/b"]);
});
