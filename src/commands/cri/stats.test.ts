import { describe, expect, it } from "vitest";
import type { CallRecord } from "../../cri/record/call-record.ts";
import { createMetrics } from "../../observe/metrics.ts";
import { CallStats } from "./call-stats.ts";
import { createCriMetrics } from "./metrics.ts";
import { difference, parseScrape, scrapedStats } from "./scraped-stats.ts";
import { statsTable } from "./stats-table.ts";

function record(method: string, more: Partial<CallRecord> = {}): CallRecord {
  const base = { time: "2026-11-21T10:00:00.123Z", totalMs: 1, heldMs: 0, requestBytes: 1, responseBytes: 1 };
  return { ...base, method, status: "OK", runtimeMs: 1, oursMs: 0.05, ...more };
}

describe("sums of records", () => {
  it("count samples as what they stand for, and give percentiles within two hundredths", () => {
    const stats = new CallStats();
    stats.add(record("Version", { sample: 100 }));
    stats.add(record("Version", { status: "UNKNOWN" }));
    for (let ms = 1; ms <= 100; ms += 1) stats.add(record("StopContainer", { runtimeMs: ms }));
    const [version, stop] = stats.all();
    expect(version).toMatchObject({ method: "Version", count: 101, errors: 1 });
    expect(stop?.runtimeP50).toBeGreaterThan(48.9);
    expect(stop?.runtimeP50).toBeLessThan(51.1);
    expect(stop?.runtimeP99).toBeGreaterThan(97);
    expect(stop?.runtimeP99).toBeLessThan(101);
  });

  it("have no time of the runtime where it was never asked", () => {
    const stats = new CallStats();
    const { runtimeMs: _, ...denied } = record("Exec", { status: "PERMISSION_DENIED" });
    stats.add(denied);
    expect(stats.all()[0]?.runtimeP50).toBeNaN();
    expect(statsTable(stats.all(), { colour: false, bars: false })).toContain(
      "Exec        1       1            -    -",
    );
  });
});

describe("sums of metrics", () => {
  async function scrapeOf(records: readonly CallRecord[]): Promise<string> {
    const metrics = createMetrics();
    const cri = createCriMetrics(metrics, () => ({ connections: 1, streams: 2, heldBytes: 3, known: 4 }));
    for (const each of records) cri.record(each);
    return (await metrics.render()).body;
  }

  it("are those of the proxy's own metrics", async () => {
    const calls = Array.from({ length: 100 }, (_, index) =>
      record("Version", { runtimeMs: index < 98 ? 1 : 3_000 }),
    );
    const scrape = parseScrape(await scrapeOf([...calls, record("Exec", { status: "NOT_FOUND" })]));
    const [version, exec] = scrapedStats(scrape);
    expect(version).toMatchObject({ method: "Version", count: 100, errors: 0 });
    expect(exec).toMatchObject({ method: "Exec", count: 1, errors: 1 });
    // Within the bucket that the value lies in.
    expect(version?.runtimeP50).toBeGreaterThan(0.4);
    expect(version?.runtimeP50).toBeLessThan(1.6);
    expect(version?.runtimeP99).toBeGreaterThan(1_600);
    expect(version?.runtimeP99).toBeLessThan(6_600);
  });

  it("are what came between two scrapes, also when the proxy was started anew", async () => {
    const before = parseScrape(await scrapeOf([record("Version"), record("Version"), record("Exec")]));
    const after = parseScrape(await scrapeOf([record("Version"), record("Version"), record("Version")]));
    expect(scrapedStats(difference(after, before))).toMatchObject([{ method: "Version", count: 1 }]);
    expect(scrapedStats(difference(before, after))).toMatchObject([
      { method: "Version", count: 2 },
      { method: "Exec", count: 1 },
    ]);
  });
});

describe("the metrics of the proxy", () => {
  it("have no more labels than there is room for, whatever clients and policies are called", async () => {
    const metrics = createMetrics();
    const cri = createCriMetrics(metrics, () => ({ connections: 1, streams: 2, heldBytes: 3, known: 4 }));
    for (let index = 0; index < 2_000; index += 1) {
      const policies = [{ policy: `policy-${index}`, action: "audited" as const }];
      cri.record(record(`Method${index}`, { policies }));
      cri.record(record("Version", { status: `status-${index}` }));
      cri.unknownField(`Message.${index}`);
    }
    const { body } = await metrics.render();
    const lines = body.split("\n").filter((line) => line.startsWith("trivet_cri_"));
    expect(lines.length).toBeLessThan(5_000);
    expect(body.split("\n").filter((line) => line.includes('code="status-')).length).toBeLessThan(20);
    expect(body).toContain('trivet_cri_calls_total{method="Version",code="other"}');
    expect(body).toContain('trivet_cri_calls_total{method="other",code="OK"}');
    expect(body).toContain('trivet_cri_policy_outcomes_total{policy="other",action="audited"}');
    expect(body).toContain('trivet_cri_unknown_fields_total{field="other"}');
  });

  it("tell the runtime's part from ours, what it does not know, and the state of the tap", async () => {
    const metrics = createMetrics();
    const cri = createCriMetrics(metrics, () => ({ connections: 1, streams: 2, heldBytes: 3, known: 4 }));
    cri.record(record("RuntimeConfig", { status: "UNIMPLEMENTED" }));
    cri.record(record("RuntimeConfig", { status: "UNIMPLEMENTED", answeredByProxy: true }));
    cri.record(record("MethodOfTomorrow"));
    cri.lost(7);
    cri.reloaded("policies", "failed");
    const { body } = await metrics.render();
    for (const line of [
      'trivet_cri_runtime_duration_seconds_count{method="RuntimeConfig"} 2',
      'trivet_cri_added_duration_seconds_count{method="MethodOfTomorrow"} 1',
      'trivet_cri_unimplemented_total{method="RuntimeConfig"} 1',
      'trivet_cri_unknown_method_calls_total{method="MethodOfTomorrow"} 1',
      "trivet_cri_records_lost_total 7",
      'trivet_cri_reloads_total{what="policies",result="failed"} 1',
      "trivet_cri_connections 1",
      "trivet_cri_streams 2",
      "trivet_cri_held_bytes 3",
      "trivet_cri_known_objects 4",
    ]) {
      expect(body.split("\n")).toContain(line);
    }
  });
});

it("a table of sums is aligned, and has bars only on a terminal", () => {
  const stats = new CallStats();
  for (let index = 0; index < 30; index += 1) stats.add(record("ContainerStatus"));
  stats.add(record("RunPodSandbox", { runtimeMs: 812, oursMs: 0.3, status: "UNKNOWN" }));
  const text = statsTable(stats.all(), { colour: false, bars: false });
  expect(text).toBe(`METHOD           CALLS  ERRORS  RUNTIME P50    P99  OURS P50    P99
ContainerStatus     30       0        1.0ms  1.0ms      50us   50us
RunPodSandbox        1       1        807ms  807ms     299us  299us
`);
  expect(statsTable(stats.all(), { colour: false, bars: true })).toContain("██");
  expect(statsTable([], { colour: false, bars: true })).toBe("No calls.\n");
});
