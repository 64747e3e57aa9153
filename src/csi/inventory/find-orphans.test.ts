import { describe, expect, test } from "vitest";
import type { DiskFacts, PersistentVolumeFacts, VolumeView } from "./facts.ts";
import { findOrphans, isSuspicious } from "./find-orphans.ts";

const HOUR_MS = 3_600_000;
const nowMs = Date.parse("2026-01-02T00:00:00Z");

function volume(id: string, changes: Partial<VolumeView> = {}): VolumeView {
  const known = { backend: "directory" as const, sizeBytes: 4096, created: "2026-01-01T00:00:00Z" };
  return { id, pool: "default", state: "idle", published: [], staged: [], ...known, ...changes };
}

function disk(changes: Partial<DiskFacts> = {}): DiskFacts {
  return { volumes: [], leftovers: [], mounts: [], loops: [], away: [], node: "n1", nowMs, ...changes };
}

function persistentVolume(handle: string, nodes = ["n1"]): PersistentVolumeFacts {
  return { name: `pv-${handle}`, handle, phase: "Bound", nodes };
}

const find = (facts: DiskFacts, persistentVolumes?: readonly PersistentVolumeFacts[]) =>
  findOrphans(facts, { persistentVolumes, graceMs: HOUR_MS }).map(({ kind, subject, removal }) => [
    kind,
    subject,
    removal,
  ]);

describe("volumes and PersistentVolumes", () => {
  test.each([
    { title: "one of each fits", volumes: [volume("a")], pvs: [persistentVolume("a")], expected: [] },
    {
      title: "a volume without a PersistentVolume may go",
      volumes: [volume("a")],
      pvs: [],
      expected: [["volume without PersistentVolume", "a", "yes"]],
    },
    {
      title: "one that is mounted is told and stays",
      volumes: [volume("a", { state: "published", published: ["/p"] })],
      pvs: [],
      expected: [["volume without PersistentVolume", "a", "no"]],
    },
    {
      title: "a young volume is spared",
      volumes: [volume("a", { created: "2026-01-01T23:30:00Z" })],
      pvs: [],
      expected: [],
    },
    {
      title: "a volume of unknown age is spared",
      volumes: [volume("a", { created: "nonsense" })],
      pvs: [],
      expected: [],
    },
    {
      title: "an inline volume has no PersistentVolume",
      volumes: [volume("a", { inline: true })],
      pvs: [],
      expected: [],
    },
    {
      title: "without PersistentVolumes nothing lacks one",
      volumes: [volume("a")],
      pvs: undefined,
      expected: [],
    },
    {
      title: "a PersistentVolume of this node without a volume is told",
      volumes: [],
      pvs: [persistentVolume("a")],
      expected: [["PersistentVolume without volume", "pv-a", "no"]],
    },
    {
      title: "one of another node is not ours to judge",
      volumes: [],
      pvs: [persistentVolume("a", ["n2"])],
      expected: [],
    },
    {
      title: "what is quarantined is told once and never removed",
      volumes: [volume("a", { state: "quarantined" })],
      pvs: [persistentVolume("a")],
      expected: [["quarantined", "a", "no"]],
    },
  ])("$title", ({ volumes, pvs, expected }) => {
    expect(find(disk({ volumes }), pvs)).toEqual(expected);
  });

  test("while a pool is away nothing is missing", () => {
    expect(find(disk({ away: ["disk"] }), [persistentVolume("a")])).toEqual([]);
  });

  test("a PersistentVolume whose volume was deleted tells how it comes back", () => {
    const facts = disk({ volumes: [volume("a", { state: "trash", entry: "a.1.f" })] });
    const [orphan] = findOrphans(facts, { persistentVolumes: [persistentVolume("a")], graceMs: 0 });
    expect(orphan?.detail).toContain("trivet storage undelete a");
  });

  test("another cluster's PersistentVolumes are suspicious, and no volumes at all are not", () => {
    const options = { persistentVolumes: [persistentVolume("z")], graceMs: 0 };
    expect(isSuspicious(disk({ volumes: [volume("a")] }), options)).toBe(true);
    expect(isSuspicious(disk({ volumes: [volume("z"), volume("a")] }), options)).toBe(false);
    expect(isSuspicious(disk(), options)).toBe(false);
  });
});

describe("what is left on the node", () => {
  test("leftovers, mounts of deleted volumes, and loop devices of missing images", () => {
    const facts = disk({
      volumes: [volume("a"), volume("t", { state: "trash" })],
      leftovers: [{ pool: "default", name: "b" }],
      mounts: [
        { id: "a", mountPoint: "/fine", isDeleted: false },
        { id: "t", mountPoint: "/trashed", isDeleted: false },
        { id: "a", mountPoint: "/deleted", isDeleted: true },
      ],
      loops: [
        { device: "/dev/loop1", file: "/pool/x", isMissing: true },
        { device: "/dev/loop2", file: "/pool/y", isMissing: false },
      ],
    });
    expect(find(facts)).toEqual([
      ["left in staging", "default/b", "yes"],
      ["mount of a deleted volume", "/trashed", "yes"],
      ["mount of a deleted volume", "/deleted", "yes"],
      ["loop device of a missing image", "/dev/loop1", "no"],
    ]);
  });

  test("while a pool is away only a mount that the kernel calls deleted is one", () => {
    const mounts = [
      { id: "x", mountPoint: "/away", isDeleted: false },
      { id: "y", mountPoint: "/gone", isDeleted: true },
    ];
    expect(find(disk({ away: ["disk"], mounts }))).toEqual([["mount of a deleted volume", "/gone", "yes"]]);
  });

  test("what is retained goes only when it is named", () => {
    const volumes = [volume("a", { state: "retained", entry: "a.1.f" })];
    expect(find(disk({ volumes }))).toEqual([["retained", "a.1.f", "named"]]);
  });
});
