import { describe, expect, test } from "vitest";
import { type ClassParameters, parameterRows, parseParameters } from "./parameters.ts";

const claim = {
  "csi.storage.k8s.io/pvc/name": "data",
  "csi.storage.k8s.io/pvc/namespace": "prod",
  "csi.storage.k8s.io/pv/name": "pvc-1",
};

describe("parseParameters", () => {
  test.each<[Record<string, string>, ClassParameters]>([
    [{}, {}],
    [{ pool: "fast" }, { pools: ["fast"] }],
    [{ pool: "fast,slow" }, { pools: ["fast", "slow"] }],
    [{ backend: "quota" }, { backend: "quota" }],
    [{ fsType: "xfs" }, { fsType: "xfs" }],
    [{ mode: "0770" }, { owner: { mode: 0o770, uid: 0, gid: 0 } }],
    [{ mode: "2770", gid: "7" }, { owner: { mode: 0o2770, uid: 0, gid: 7 } }],
    [{ uid: "4294967294" }, { owner: { mode: 0o777, uid: 4_294_967_294, gid: 0 } }],
    [{ noexec: "true" }, { mountFlags: ["nosuid", "nodev", "noexec"] }],
    [{ nosuid: "false", nodev: "false" }, { mountFlags: [] }],
    [{ onDelete: "retain" }, { onDelete: { policy: "retain" } }],
    [{ onDelete: "trash" }, { onDelete: { policy: "trash", retentionSeconds: 86_400 } }],
    [
      { onDelete: "trash", trashRetention: "7d" },
      { onDelete: { policy: "trash", retentionSeconds: 604_800 } },
    ],
    [{ inodes: "1000" }, { inodes: 1_000 }],
    [claim, { claim: { namespace: "prod", name: "data" } }],
    [
      { ...claim, namePattern: "{namespace}/{claim}-{volume}" },
      { claim: { namespace: "prod", name: "data" }, browse: "prod/data-pvc-1" },
    ],
  ])("understands %j", (map, expected) => {
    expect(parseParameters(map)).toEqual(expected);
  });

  test.each([
    [
      { colour: "red" },
      'parameters.colour is "red", but there is no such parameter: known are pool, backend',
    ],
    [{ pool: "" }, 'parameters.pool is ""'],
    [{ pool: "../etc" }, 'parameters.pool is "../etc"'],
    [{ pool: "a,,b" }, 'parameters.pool is "a,,b"'],
    [{ backend: "lvm" }, 'parameters.backend is "lvm": known are quota, image, directory'],
    [{ fsType: "ntfs" }, 'parameters.fsType is "ntfs"'],
    [{ mode: "493" }, 'parameters.mode is "493"'],
    [{ mode: "rwx" }, 'parameters.mode is "rwx"'],
    [{ uid: "-1" }, 'parameters.uid is "-1"'],
    [{ gid: "4294967295" }, 'parameters.gid is "4294967295"'],
    [{ nosuid: "yes" }, 'parameters.nosuid is "yes": give "true" or "false"'],
    [{ onDelete: "archive" }, 'parameters.onDelete is "archive"'],
    [
      { trashRetention: "7d" },
      'parameters.trashRetention is "7d", which means nothing without onDelete: trash',
    ],
    [{ onDelete: "trash", trashRetention: "1 week" }, 'parameters.trashRetention is "1 week"'],
    [{ inodes: "1" }, 'parameters.inodes is "1"'],
    [{ namePattern: "{claim}" }, "{claim} is not known: external-provisioner tells it"],
    [{ ...claim, namePattern: "{label}" }, "it may hold {namespace}, {claim}, {volume}"],
    [{ ...claim, namePattern: "../{claim}" }, 'which gives "../data"'],
    [{ ...claim, namePattern: "/{claim}" }, 'which gives "/data"'],
    [{ ...claim, namePattern: "a//{claim}" }, 'which gives "a//data"'],
    [{ ...claim, "csi.storage.k8s.io/pvc/name": "..", namePattern: "{claim}" }, 'which gives ".."'],
    [{ ...claim, "csi.storage.k8s.io/pvc/name": "a/../../b", namePattern: "{claim}" }, "which gives"],
  ])("refuses %j and names key and value", (map, message) => {
    expect(() => parseParameters(map)).toThrow(
      expect.objectContaining({ kind: "invalid", message: expect.stringContaining(message) }),
    );
  });

  test("has a row of documentation for each key, once", () => {
    const keys = parameterRows.map(({ key }) => key);
    expect(new Set(keys).size).toBe(keys.length);
    for (const { values, default: absent, meaning } of parameterRows) {
      expect([values, absent, meaning]).not.toContain("");
    }
  });
});
