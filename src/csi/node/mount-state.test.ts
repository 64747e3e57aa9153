import { describe, expect, test } from "vitest";
import type { MountInfo } from "../../host/mount.ts";
import type { VolumeSource } from "../backend/backend.ts";
import { mountsWithin, placeOf, showsSource } from "./mount-state.ts";

const mount = (mountPoint: string, device: string, root = "/"): MountInfo => ({
  ...{
    id: 0,
    parentId: 0,
    device,
    root,
    mountPoint,
    options: ["rw"],
    superOptions: [],
    fsType: "ext4",
    source: "x",
  },
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
  const found = mountsWithin([...table, ...shown], { kind: "directory", path: "/v" });
  expect(found.map(({ mountPoint }) => mountPoint)).toEqual(["/a", "/b"]);
});

describe("showsSource", () => {
  const device = (mountPoint: string, fsType: string, source: string, root = "/"): MountInfo => ({
    ...mount(mountPoint, "0:5", root),
    fsType,
    source,
  });
  const shown = [
    ...[mount("/a", "8:1", "/v"), mount("/b", "8:1", "/v/sub")],
    ...[device("/c", "ext4", "/dev/loop3"), device("/d", "ext4", "/dev/loop3", "/sub")],
    ...[device("/e", "devtmpfs", "udev", "/loop3"), device("/f", "devtmpfs", "udev", "/loop30")],
    device("/g", "ext4", "/dev/sda", "/loop3"),
  ];
  test.each<[VolumeSource, string[]]>([
    [{ kind: "directory", path: "/v" }, ["/a"]],
    [{ kind: "filesystem", device: "/dev/loop3", fsType: "ext4" }, ["/c"]],
    [{ kind: "block", device: "/dev/loop3" }, ["/e"]],
  ])("knows the mounts of %j", (source, expected) => {
    const found = shown.filter(showsSource([...table, ...shown], source));
    expect(found.map(({ mountPoint }) => mountPoint)).toEqual(expected);
  });

  test("what is mounted from a device is in use wherever a part of it is mounted", () => {
    const source: VolumeSource = { kind: "filesystem", device: "/dev/loop3", fsType: "ext4" };
    expect(mountsWithin(shown, source).map(({ mountPoint }) => mountPoint)).toEqual(["/c", "/d"]);
  });
});
