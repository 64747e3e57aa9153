import { describe, expect, it } from "vitest";
import type { CallRecord } from "./call-record.ts";
import {
  createRecordFilter,
  defaultRecordLevels,
  formatRecordLevels,
  parseRecordLevel,
  type RecordLevels,
} from "./record-filter.ts";

function record(method: string, more: Partial<CallRecord> = {}): CallRecord {
  const none = { time: "", totalMs: 1, heldMs: 0, requestBytes: 0, responseBytes: 0 };
  return { ...none, method, status: "OK", ...more };
}

function filter(levels: Partial<RecordLevels> = {}) {
  return createRecordFilter({ levels: { ...defaultRecordLevels, ...levels }, slowMs: 500 });
}

describe("the filter of records", () => {
  it("keeps the first and then each Nth call of a method, and says for how many it stands", () => {
    const keep = filter({ poll: { every: 3 } });
    const weight = (kept: CallRecord | undefined) => kept && (kept.sample ?? 1);
    const kept = Array.from({ length: 7 }, () => weight(keep(record("ListContainers"))));
    expect(kept).toEqual([1, undefined, undefined, 3, undefined, undefined, 3]);
    expect(weight(keep(record("ListPodSandbox")))).toBe(1);
  });

  it.each([1, 2, 10, 100])(
    "counts no more calls than there were, and at a sample all of them: 1:%i",
    (every) => {
      const keep = filter({ poll: { every } });
      let sum = 0;
      for (let calls = 1; calls <= 301; calls += 1) {
        const kept = keep(record("ListContainers"));
        if (kept) sum += kept.sample ?? 1;
        if (kept) expect(sum).toBe(calls);
        expect(sum).toBeLessThanOrEqual(calls);
      }
    },
  );

  it("keeps what failed and what was slow as itself, and does not count it among the sampled", () => {
    const keep = filter({ poll: { every: 2 } });
    const calls = [
      record("ListContainers"),
      record("ListContainers", { status: "UNAVAILABLE" }),
      record("ListContainers", { totalMs: 500 }),
      record("ListContainers"),
      record("ListContainers"),
    ];
    expect(calls.map((call) => keep(call) !== undefined)).toEqual([true, true, true, false, true]);
    expect(keep(record("ListContainers", { status: "UNKNOWN" }))).not.toHaveProperty("sample");
  });

  it.each([
    ["off", "OK", 1, false],
    ["off", "UNKNOWN", 9_999, false],
    ["errors", "OK", 1, false],
    ["errors", "UNKNOWN", 1, true],
    ["errors", "OK", 9_999, true],
    // A container that is gone is everyday news in the kubelet's loops.
    ["errors", "NOT_FOUND", 1, false],
    ["all", "OK", 1, true],
  ] as const)("with %s keeps a call that ended %s after %i ms: %s", (status, end, totalMs, kept) => {
    const keep = filter({ status });
    expect(keep(record("ContainerStatus", { status: end, totalMs })) !== undefined).toBe(kept);
  });

  it("always keeps what a policy touched", () => {
    const keep = filter({ change: "off", poll: "off" });
    expect(keep(record("CreateContainer"))).toBeUndefined();
    expect(keep(record("CreateContainer", { policies: [{ policy: "p", action: "audited" }] }))).toBeDefined();
    expect(keep(record("CreateContainer", { policyError: "broken" }))).toBeDefined();
  });

  it("keeps what it does not know", () => {
    expect(filter()(record("MethodOfTomorrow"))).toBeDefined();
  });

  it("counts a bounded number of methods", () => {
    const keep = filter({ other: { every: 2 } });
    let kept = 0;
    for (let index = 0; index < 1_000; index += 1) kept += keep(record(`Method${index}`)) ? 1 : 0;
    // The first of each that has a count of its own, and every second one of the rest.
    expect(kept).toBeLessThan(600);
  });
});

describe("a level", () => {
  it.each(["change=off", "poll=errors", "status=1:50", "other=all"])(
    "%s is read, and written again",
    (text) => {
      const parsed = parseRecordLevel(text);
      const levels = { ...defaultRecordLevels, ...(parsed && { [parsed.name]: parsed.level }) };
      expect(formatRecordLevels(levels)).toContain(text);
    },
  );

  it.each(["poll", "poll=", "poll=1:0", "poll=2:3", "poll=1:9999999", "polls=all", "=all", "poll=ALL"])(
    "%s is none",
    (text) => {
      expect(parseRecordLevel(text)).toBeUndefined();
    },
  );
});
