import { describe, expect, test } from "vitest";
import { createFakeClock } from "../../test/fakes/clock.ts";
import type { Log, LogFields } from "../observe/log.ts";
import { atEdge, type CallReport, type Handler } from "./call.ts";
import { refusal } from "./refusal.ts";
import { volumeIdFor } from "./volume/id.ts";

const id = volumeIdFor({ nodeId: "n", pool: "p", name: "v" });

function edge() {
  const lines: [string, string, LogFields][] = [];
  const reports: CallReport[] = [];
  const at =
    (level: string) =>
    (message: string, fields: LogFields = {}) =>
      void lines.push([level, message, fields]);
  const log: Log = {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    child: () => log,
  };
  const clock = createFakeClock();
  const deps = {
    log,
    clock,
    randomUuid: () => "uuid",
    onCall: (report: CallReport) => void reports.push(report),
  };
  const run = (
    method: string,
    handler: Handler<unknown>,
    request: unknown = {},
    signal = new AbortController().signal,
  ) => atEdge(deps, method, handler)(request, { signal });
  return { lines, reports, clock, run };
}

describe("the edge of a call", () => {
  test("writes one line with method, request id, volume, code and duration, and reports the same", async () => {
    const { lines, reports, clock, run } = edge();
    const response = await run("Node.X", async (_, call) => {
      call.about(id);
      clock.advance(12.5);
      return { done: true };
    });
    expect(response).toEqual({ done: true });
    const fields = { method: "Node.X", requestId: "uuid", volumeId: id, ms: 12.5, code: "OK" };
    expect(lines).toEqual([["info", "call", fields]]);
    expect(reports).toEqual([{ method: "Node.X", code: "OK", durationMs: 12.5 }]);
  });

  test("never logs what is in a request", async () => {
    const { lines, run } = edge();
    const fails = () => Promise.reject(refusal("invalid", "name", "name is missing"));
    await run("Node.X", fails, { secrets: { password: "hunter2" }, name: "visible" }).catch(() => undefined);
    expect(JSON.stringify(lines)).not.toMatch(/hunter2|visible/);
  });

  test("is quiet about Probe unless it fails", async () => {
    const { lines, run } = edge();
    await run("Identity.Probe", async () => ({}));
    expect(lines[0]?.[0]).toBe("debug");
  });

  test.each([
    [
      "a refusal",
      refusal("busy", "v", "v is busy"),
      "warn",
      { code: "ABORTED", kind: "busy", error: "v is busy" },
    ],
    ["an I/O error", refusal("io", "v", "EIO"), "error", { code: "INTERNAL", kind: "io", error: "EIO" }],
    [
      "a bug, with its stack",
      new TypeError("oops"),
      "error",
      { kind: "bug", stack: expect.stringContaining("TypeError: oops") },
    ],
    ["nothing at all", undefined, "error", { kind: "bug", code: "INTERNAL" }],
  ])("logs %s and lets it pass", async (_, thrown, level, fields) => {
    const { lines, reports, run } = edge();
    await expect(run("Node.X", () => Promise.reject(thrown))).rejects.toBe(thrown);
    expect(lines).toEqual([[level, "call", expect.objectContaining(fields)]]);
    expect(reports[0]?.code).not.toBe("OK");
  });

  test("tells a handler before its next effect that the caller is gone", async () => {
    const { run } = edge();
    const handler: Handler<unknown> = async (_, call) => {
      call.check();
      return {};
    };
    await expect(run("Node.X", handler, {}, AbortSignal.abort())).rejects.toMatchObject({
      kind: "cancelled",
    });
  });
});
