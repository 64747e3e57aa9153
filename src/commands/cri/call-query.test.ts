import { describe, expect, it } from "vitest";
import type { CallRecord } from "../../cri/record/call-record.ts";
import { createQuery, parseSince, type QueryFlags } from "./call-query.ts";

const record: CallRecord = {
  ...{ time: "2026-11-21T10:00:00.000Z", method: "CreateContainer", status: "PERMISSION_DENIED" },
  ...{ namespace: "shop", pod: "web-0", container: "main", containerId: "0123456789abcdef" },
  ...{ sandboxId: "fedcba9876543210", totalMs: 120, heldMs: 1, requestBytes: 1, responseBytes: 1 },
  policies: [{ policy: "no-root", action: "denied" }],
};
const now = Date.parse("2026-11-21T10:05:00Z");

const rows: [QueryFlags, boolean][] = [
  [{}, true],
  [{ pod: "shop/web-0" }, true],
  [{ pod: "web-0" }, true],
  [{ pod: "shop/" }, true],
  [{ pod: "shop/*" }, true],
  [{ pod: "fedcba98" }, true],
  [{ pod: "fed" }, false],
  [{ pod: "other/web-0" }, false],
  [{ pod: "web" }, false],
  [{ container: "main" }, true],
  [{ container: "01234567" }, true],
  [{ container: "side" }, false],
  [{ method: ["createcontainer"] }, true],
  [{ method: ["Version,CreateContainer"] }, true],
  [{ method: ["Version", "CreateContainer"] }, true],
  [{ method: ["Version"] }, false],
  [{ status: ["permission_denied"] }, true],
  [{ status: ["failed"] }, true],
  [{ status: ["OK"] }, false],
  [{ policy: "no-root" }, true],
  [{ policy: "other" }, false],
  [{ slow: "120" }, true],
  [{ slow: "120.5" }, false],
  [{ since: "6m" }, true],
  [{ since: "4m" }, false],
  [{ since: "2026-11-21T09:59:59Z" }, true],
  [{ pod: "web-0", status: ["OK"] }, false],
];

describe("a query of calls", () => {
  it.each(rows)("%j: %s", (flags, expected) => {
    expect(createQuery(flags, now).matches(record)).toBe(expected);
  });

  it.each([
    [{ since: "soon" }, "--since soon: must be like 30s"],
    [{ since: "10" }, "--since 10"],
    [{ slow: "1s" }, "--slow 1s: must be a number of milliseconds"],
    [{ pod: "a/b/c" }, "--pod a/b/c: must be NAMESPACE/NAME"],
    [{ pod: "" }, "--pod"],
  ])("%j is refused with what it must be", (flags, message) => {
    expect(() => createQuery(flags, now)).toThrow(message);
  });

  it.each([
    ["30s", 30_000],
    ["10m", 600_000],
    ["2h", 7_200_000],
    ["1d", 86_400_000],
  ])("%s is %i ms ago", (text, ms) => {
    expect(now - parseSince(text, now)).toBe(ms);
  });
});
