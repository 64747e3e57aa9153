import { expect, test } from "vitest";
import { formatBytes } from "./bytes.ts";
import { orphansTable } from "./orphans.ts";
import { poolsTable } from "./pools.ts";
import { volumesTable } from "./volumes.ts";

test.each([
  [undefined, "-"],
  [0, "0"],
  [512, "512"],
  [1536, "1.5Ki"],
  [10 * 2 ** 30, "10Gi"],
  [5 * 2 ** 60, "5120Pi"],
])("%s bytes are %s", (bytes, expected) => {
  expect(formatBytes(bytes)).toBe(expected);
});

test("volumes stand one a line, with the pod's uid, and then what is wrong and what is hidden", () => {
  const published = ["/var/lib/kubelet/pods/uid-1/volumes/kubernetes.io~csi/pv/mount"];
  const text = volumesTable(
    [
      {
        ...{ id: "tv-a", pool: "default", state: "published", claim: "shop/db", backend: "quota" },
        ...{ sizeBytes: 2 ** 30, usedBytes: 2 ** 20, published, staged: [] },
      },
      {
        id: "tv-b",
        pool: "default",
        state: "abnormal",
        detail: "its data are gone",
        published: [],
        staged: [],
      },
    ],
    3,
  );
  expect(text).toBe(`ID    CLAIM    POOL     BACKEND  SIZE  USED  STATE      PUBLISHED
tv-a  shop/db  default  quota    1Gi   1Mi   published  uid-1
tv-b  -        default  -        -     -     abnormal   -

tv-b (abnormal): its data are gone
3 deleted or retained: --deleted shows them
`);
});

test("no volumes are told as such", () => {
  expect(volumesTable([], 0)).toBe("No volumes.\n");
});

test("a pool without limits tells why, and one that is away the reason", () => {
  const text = poolsTable([
    {
      ...{ name: "a", path: "/a", backend: "directory", state: "ready", enforced: false, how: "directories" },
      ...{
        advice: "quotas are off; run X",
        reservedBytes: 0,
        availableBytes: 2 ** 30,
        volumes: 1,
        trashed: 0,
      },
      ...{ quarantined: ["tv-q"], drain: true },
      disk: {
        device: "/dev/vda1",
        fsType: "ext4",
        mountPoint: "/",
        totalBytes: 2 ** 40,
        usedBytes: 0,
        media: "SSD",
      },
    },
    {
      ...{
        name: "b",
        path: "/b",
        backend: "auto",
        state: "unavailable",
        reason: 'pool "b" is unavailable: no disk',
      },
      ...{ reservedBytes: 0, availableBytes: 0, volumes: 0, trashed: 0, quarantined: [] },
    },
  ]);
  expect(text).toContain("/dev/vda1  ext4 1Ti    SSD");
  expect(text).toContain("a: no quotas, because quotas are off; run X\n");
  expect(text).toContain("tv-q is quarantined");
  expect(text).toContain('pool "b" is unavailable: no disk\n');
});

test("orphans tell what was not compared, and that nothing was removed", () => {
  const orphan = {
    kind: "left in staging",
    subject: "p/x",
    pool: "p",
    detail: "why",
    removal: "yes",
  } as const;
  const report = { away: ["disk"], comparedWithPersistentVolumes: false };
  const text = orphansTable({ ...report, orphans: [{ ...orphan, outcome: "found" }] });
  expect(text).toContain("left in staging  p/x");
  expect(text).toContain("pool disk is away");
  expect(text).toContain("--pv-file");
  expect(text).toContain("nothing was removed");
  expect(orphansTable({ ...report, away: [], orphans: [] })).toContain("Nothing is orphaned.");
});
