import { setImmediate as turn } from "node:timers/promises";
import { beforeEach, expect, test } from "vitest";
import { createFakeClock } from "../../test/fakes/clock.ts";
import type { PoolStatus } from "../csi/pool/pool.ts";
import type { OrphansReport } from "../csi/storage-admin.ts";
import { createMetrics } from "../observe/metrics.ts";
import { showStorage } from "./node-metrics.ts";

const clock = createFakeClock();
let pools: PoolStatus[];
let looks: { pools: number; orphans: number };
/** Ends the look for orphans that is under way. */
let settle: (kinds: readonly string[] | Error) => void;
let metrics: ReturnType<typeof createMetrics>;

const pool: PoolStatus = {
  ...{ name: "default", path: "/pool", backend: "quota", enforced: true, state: "ready" },
  ...{ reservedBytes: 1, availableBytes: 2, volumes: 3, trashed: 0, quarantined: [] },
};

beforeEach(() => {
  pools = [pool];
  looks = { pools: 0, orphans: 0 };
  settle = () => undefined;
  metrics = createMetrics();
  const orphans = () => {
    looks.orphans += 1;
    return new Promise<OrphansReport>((resolve, reject) => {
      settle = (found) => {
        if (found instanceof Error) return reject(found);
        const rows = found.map((kind) => ({ kind }));
        resolve({
          orphans: rows,
          away: [],
          comparedWithPersistentVolumes: false,
        } as unknown as OrphansReport);
      };
    });
  };
  const status = async () => {
    looks.pools += 1;
    return pools;
  };
  showStorage(metrics, { pools: status, admin: { orphans } as never }, clock);
});

async function scrape(): Promise<string[]> {
  const { body } = await metrics.render();
  return body.split("\n").filter((line) => line.startsWith("trivet_"));
}

test("a scrape looks at the pools once, and each scrape anew", async () => {
  expect(await scrape()).toContain('trivet_csi_pool_volumes{pool="default"} 3');
  expect(looks.pools).toBe(1);
  pools = [{ ...pool, volumes: 4 }];
  expect(await scrape()).toContain('trivet_csi_pool_volumes{pool="default"} 4');
  expect(looks.pools).toBe(2);
});

test("what is gone is shown no more", async () => {
  await scrape();
  pools = [];
  expect((await scrape()).filter((line) => line.includes('pool="default"'))).toEqual([]);
});

test("no scrape waits for a look for orphans, and a later one has what it found", async () => {
  expect((await scrape()).join()).not.toContain("trivet_csi_orphans");
  await scrape();
  expect(looks.orphans).toBe(1);
  settle(["left in staging", "left in staging", "quarantined"]);
  await turn();
  const shown = await scrape();
  expect(shown).toContain('trivet_csi_orphans{kind="left in staging"} 2');
  expect(shown).toContain('trivet_csi_orphans{kind="quarantined"} 1');
  expect(looks.orphans).toBe(1);
});

test.each([
  ["five minutes", 100, 300_000],
  ["a hundred times as long as the last one took", 10_000, 1_000_000],
])("orphans are looked for again after %s", async (_, tookMs, afterMs) => {
  await scrape();
  clock.advance(tookMs);
  settle(["quarantined"]);
  await turn();
  clock.advance(afterMs - 1);
  await scrape();
  expect(looks.orphans).toBe(1);
  clock.advance(1);
  expect((await scrape()).join()).toContain("quarantined");
  expect(looks.orphans).toBe(2);
  settle([]);
  await turn();
  expect((await scrape()).join()).not.toContain("trivet_csi_orphans");
});

test("a look for orphans that fails shows none, and is tried again", async () => {
  await scrape();
  settle(new Error("the disk is away"));
  await turn();
  expect((await scrape()).join()).not.toContain("trivet_csi_orphans");
  clock.advance(300_000);
  await scrape();
  expect(looks.orphans).toBe(2);
});

test.each([
  ["that is away", { state: "unavailable" }, "pool-unavailable"],
  ["that was to have limits and has none", { enforced: false, lacks: "quotas are off" }, "pool-not-enforced"],
  ["with directories that hold no volume", { quarantined: ["x"] }, "pool-quarantined"],
  ["of directories by choice", { enforced: false, backend: "directory" }, undefined],
  ["with limits", {}, undefined],
] as const)("a pool %s is degraded as it should be", async (_, changes, what) => {
  pools = [{ ...pool, ...changes }];
  const degraded = (await scrape()).filter((line) => line.startsWith("trivet_degraded"));
  expect(degraded).toEqual(what === undefined ? [] : [`trivet_degraded{what="${what}",subject="default"} 1`]);
});
