import { describe, expect, it } from "vitest";
import { createLog } from "./log.ts";

function capture(level: "debug" | "info") {
  const lines: Record<string, unknown>[] = [];
  const log = createLog("test", level, { write: (line: string) => void lines.push(JSON.parse(line)) });
  return { log, lines };
}

describe("the log", () => {
  it("writes one JSON object a line, with level, time, name and message", () => {
    const { log, lines } = capture("info");
    log.child({ leg: "csi" }).warn("pool is full", { pool: "default" });
    expect(lines).toEqual([
      {
        level: "warn",
        name: "test",
        leg: "csi",
        pool: "default",
        message: "pool is full",
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      },
    ]);
  });

  it("drops what is below its level", () => {
    const { log, lines } = capture("info");
    log.debug("polled");
    expect(lines).toEqual([]);
  });
});
