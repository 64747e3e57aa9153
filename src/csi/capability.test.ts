import { describe, expect, test } from "vitest";
import { parseCapabilities, parseCapability } from "./capability.ts";
import type { WireCapability } from "./wire.ts";

const wire = (mode: string, flags: string[] = [], more: object = {}): WireCapability => ({
  block: null,
  mount: { fs_type: "", mount_flags: flags, volume_mount_group: "", ...more },
  access_mode: { mode },
});

const group = "c.mount.volume_mount_group";

describe("parseCapability", () => {
  test.each([
    ["SINGLE_NODE_WRITER", [], false, []],
    ["SINGLE_NODE_READER_ONLY", [], true, []],
    ["SINGLE_NODE_SINGLE_WRITER", ["ro"], true, []],
    ["SINGLE_NODE_MULTI_WRITER", ["noexec", "nodev", "noexec"], false, ["noexec", "nodev"]],
    ["SINGLE_NODE_WRITER", ["noatime", "nodiratime"], false, ["noatime", "nodiratime"]],
  ])("reads %s with %j", (mode, flags, readOnly, expected) => {
    expect(parseCapability("c", wire(mode, flags))).toEqual({
      ...{ access: "mount", accessMode: mode, readOnly, flags: expected },
    });
  });

  test("reads a block device, a file system and a group", () => {
    const block = { block: {}, mount: null, access_mode: { mode: "SINGLE_NODE_WRITER" } };
    expect(parseCapability("c", block)).toMatchObject({ access: "block", flags: [] });
    const mounted = wire("SINGLE_NODE_WRITER", [], { fs_type: "xfs", volume_mount_group: "4294967294" });
    expect(parseCapability("c", mounted)).toMatchObject({ fsType: "xfs", group: 4_294_967_294 });
  });

  test.each<[string, WireCapability, string]>([
    [
      "no access type",
      { block: null, mount: null, access_mode: { mode: "SINGLE_NODE_WRITER" } },
      "c.access_type",
    ],
    ["no access mode", { ...wire(""), access_mode: null }, "c.access_mode"],
    ["an unknown access mode", wire("UNKNOWN"), "c.access_mode"],
    ["a mode of many nodes", wire("MULTI_NODE_MULTI_WRITER"), "c.access_mode"],
    ["suid", wire("SINGLE_NODE_WRITER", ["suid"]), "c.mount.mount_flags[0]"],
    ["an option with a value", wire("SINGLE_NODE_WRITER", ["ro", "context=x"]), "c.mount.mount_flags[1]"],
    ["a group by name", wire("SINGLE_NODE_WRITER", [], { volume_mount_group: "wheel" }), group],
    ["no group", wire("SINGLE_NODE_WRITER", [], { volume_mount_group: "4294967295" }), group],
  ])("refuses %s by the name of the field", (_, capability, subject) => {
    expect(() => parseCapability("c", capability)).toThrow(
      expect.objectContaining({ kind: "invalid", subject }),
    );
  });
});

test("a mount flag is never repeated in an error: it may be sensitive (specification, mount_flags)", () => {
  expect(() => parseCapability("c", wire("SINGLE_NODE_WRITER", ["password=hunter2"]))).toThrow(
    expect.objectContaining({ message: expect.not.stringContaining("hunter2") }),
  );
});

test("parseCapabilities refuses an empty list and names the one that is wrong", () => {
  expect(() => parseCapabilities([])).toThrow("volume_capabilities is empty");
  const list = [wire("SINGLE_NODE_WRITER"), wire("MULTI_NODE_READER_ONLY")];
  expect(() => parseCapabilities(list)).toThrow(
    "volume_capabilities[1].access_mode is MULTI_NODE_READER_ONLY",
  );
});
