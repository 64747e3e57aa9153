import { describe, expect, it } from "vitest";
import { disk, GiB, mount, node, pool, well, withPool, wrong } from "../../../test/fakes/doctor-node.ts";
import type { NodeFacts } from "./facts.ts";
import type { Finding } from "./finding.ts";

describe("doctor, of storage,", () => {
  const rows: [string, NodeFacts, Partial<Finding> & { cause: unknown }][] = [
    [
      "a daemon that is away",
      node({ storage: { pools: { unknown: "no daemon answers" } } }),
      { level: "error", area: "storage", cause: "no daemon answers" },
    ],
    [
      "a pool whose disk is not mounted",
      withPool({ state: "unavailable", reason: "not mounted" }),
      { level: "error", subject: "pool default", cause: "not mounted" },
    ],
    [
      "a pool without limits, and the command that would change it is the remedy and not the cause",
      withPool({ enforced: false, advice: 'quotas are off; run "x"', lacks: "quotas are off" }),
      {
        ...{ level: "warning", cause: "quotas are off" },
        remedy: expect.stringContaining("umount /data && mount -o prjquota /dev/sdb1 /data"),
        commands: ["umount /data && mount -o prjquota /dev/sdb1 /data"],
      },
    ],
    [
      "a pool on a kernel that has no quotas for its disk, for which no command is made up",
      {
        ...withPool({ enforced: false, lacks: "ENOSYS" }),
        kernel: { ...well.kernel, features: { ...well.kernel.features, xfs_quota: "missing" } },
      },
      { level: "warning", cause: "ENOSYS", remedy: expect.stringContaining("CONFIG_XFS_QUOTA") },
    ],
    [
      "a directory of the pool that passes a project on",
      withPool({ enforced: false, lacks: '/data passes project 9 on: clear that with "chattr -P /data"' }),
      { level: "warning", cause: expect.any(String), commands: ["chattr -P /data"] },
    ],
    [
      "the disk of a pool without limits while the daemon is away",
      node({
        storage: {
          pools: { unknown: "no daemon answers" },
          configured: [
            {
              name: "fast",
              path: "/data/pool",
              backend: "auto",
              disk: { ...disk, quotas: { value: "off" } },
            },
          ],
        },
      }),
      {
        ...{ level: "warning", subject: "pool fast", cause: "quotas are off, at /data/pool" },
        commands: ["umount /data && mount -o prjquota /dev/sdb1 /data"],
      },
    ],
    [
      "a pool that is to have quotas and cannot",
      withPool({
        ...{ state: "unavailable", backend: "quota" },
        reason: 'pool "default" is to have quotas and cannot: they are off; run "x"',
      }),
      {
        ...{ level: "error", cause: 'pool "default" is to have quotas and cannot: they are off' },
        remedy: expect.stringContaining("prjquota"),
      },
    ],
    [
      "a pool whose root others may change, with the command of its reason",
      withPool({ state: "unavailable", reason: 'others may change it: run "chmod go-w /data"' }),
      { level: "error", cause: expect.any(String), commands: ["chmod go-w /data"] },
    ],
    [
      "a pool whose disk fstab knows",
      withPool({ state: "unavailable", reason: "is its disk mounted?" }, {}, { isInFstab: true }),
      { level: "error", cause: expect.any(String), commands: ["mount /var/lib/trivet/pool"] },
    ],
    [
      "a pool on tmpfs",
      withPool({}, { type: 0x01021994 }),
      { level: "warning", cause: expect.stringContaining("tmpfs") },
    ],
    [
      "a disk that turned read-only",
      withPool({}, {}, { mount: { ...mount, superOptions: ["ro"] } }),
      { level: "error", cause: "/dev/sdb1 is mounted read-only at /data" },
    ],
    [
      "sparse images that promise more than the disk has",
      withPool({ backend: "image", sparse: true, reservedBytes: 150 * GiB }, { availableBytes: 80 * GiB }),
      { level: "warning", cause: expect.stringContaining("130.0 GiB more than they have") },
    ],
    [
      "a pool that is nearly given away",
      withPool({ availableBytes: GiB }),
      { level: "warning", cause: "1.0 % of its budget is left" },
    ],
    [
      "a disk that is nearly full",
      withPool({}, { availableBytes: 5 * GiB }),
      { level: "warning", cause: expect.stringContaining("bytes") },
    ],
    [
      "a disk without inodes",
      withPool({}, { freeInodes: 1 }),
      { level: "error", cause: expect.stringContaining("inodes") },
    ],
    [
      "what is quarantined",
      withPool({ quarantined: ["v1"] }),
      { level: "warning", cause: expect.stringContaining("v1") },
    ],
    [
      "orphans",
      node({ storage: { orphans: { value: { "left in staging": 2 } } } }),
      { level: "warning", subject: "orphans", cause: "2 times left in staging" },
    ],
    [
      "image pools without their programs",
      node({
        storage: {
          pools: { value: [{ status: { ...pool, backend: "image" }, disk }] },
          missingPrograms: ["mkfs.xfs"],
        },
      }),
      { level: "warning", subject: "image pools", cause: expect.stringContaining("mkfs.xfs") },
    ],
    [
      "a kubelet that is configured with a dead proxy",
      node({ runtime: { proxied: { unknown: "refused" } } }),
      {
        level: "error",
        area: "kubelet",
        subject: "runtime endpoint",
        cause: expect.stringContaining("does not answer"),
      },
    ],
  ];

  it.each(rows)("finds %s, and says what follows and what to do", (_, facts, expected) => {
    const found = wrong(facts);
    expect(found).toContainEqual(expect.objectContaining(expected));
    for (const finding of found) {
      expect(finding).toMatchObject({
        consequence: expect.stringMatching(/\w/),
        remedy: expect.stringMatching(/\w/),
      });
    }
  });
});
