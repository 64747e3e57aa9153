import { describe, expect, test } from "vitest";
import { createMounts, parseMountInfo } from "./mount.ts";

describe("parseMountInfo", () => {
  test("reads a bind mount with optional fields and octal escapes", () => {
    const line =
      "43 27 254:0 /pool\\040one/v /var/lib/kubelet/a\\134b\\011c ro,nosuid shared:1 master:2 - ext4 /dev/vda rw,x\n";
    expect(parseMountInfo(line)).toEqual([
      {
        ...{ id: 43, parentId: 27, device: "254:0", root: "/pool one/v" },
        ...{
          mountPoint: "/var/lib/kubelet/a\\b\tc",
          options: ["ro", "nosuid"],
          fsType: "ext4",
          source: "/dev/vda",
          superOptions: ["rw", "x"],
        },
      },
    ]);
  });

  test("reads a line without optional fields and a source of a dash", () => {
    const [mount] = parseMountInfo("1 0 0:5 / /proc rw - proc - rw\n");
    expect([mount?.fsType, mount?.source, mount?.root]).toEqual(["proc", "-", "/"]);
  });

  test.each(["", "\n", "garbage", "1 2 3:4 /"])("leaves out what is no mount: %j", (line) => {
    expect(parseMountInfo(line)).toEqual([]);
  });
});

describe("createMounts", () => {
  test("sets every flag on the detached copy before it is attached, and closes the copy", async () => {
    const calls: unknown[] = [];
    const mounts = createMounts({
      cloneMount: async (path) => {
        calls.push(["clone", path]);
        return 9;
      },
      setMountAttributes: async (...args) => void calls.push(["set", ...args]),
      attachMount: async (...args) => void calls.push(["attach", ...args]),
      unmount: async (...args) => void calls.push(["unmount", ...args]),
      mount: async (...args) => void calls.push(["mount", ...args]),
      close: (fd) => void calls.push(["close", fd]),
    });
    await mounts.bind("/s", "/t", { readOnly: true, flags: ["nosuid", "noatime"] });
    await mounts.unmount("/t");
    await mounts.mountDevice("/dev/loop3", "/t", {
      fsType: "xfs",
      readOnly: true,
      flags: ["nodev", "noatime"],
    });
    expect(calls).toEqual([
      ["clone", "/s"],
      ["set", 9, 0x1 | 0x2 | 0x10, 0x70],
      ["attach", 9, "/t"],
      ["close", 9],
      ["unmount", "/t", 8],
      ["mount", "/dev/loop3", "/t", "xfs", 0x1 | 0x4 | 0x400, "nouuid"],
    ]);
  });

  test("closes the copy when attaching it fails", async () => {
    let closed = 0;
    const mounts = createMounts({
      cloneMount: async () => 9,
      setMountAttributes: async () => undefined,
      attachMount: () => Promise.reject(new Error("no")),
      unmount: async () => undefined,
      mount: async () => undefined,
      close: () => void closed++,
    });
    await expect(mounts.bind("/s", "/t", { readOnly: false, flags: [] })).rejects.toThrow("no");
    expect(closed).toBe(1);
  });

  test("lists the mounts of this process, that of proc among them", async () => {
    const unused = () => Promise.reject(new Error("unused"));
    const none = { cloneMount: unused, setMountAttributes: unused, attachMount: unused, unmount: unused };
    const list = await createMounts({ ...none, mount: unused, close: () => undefined }).list();
    expect(list.some(({ mountPoint }) => mountPoint === "/proc")).toBe(true);
  });
});
