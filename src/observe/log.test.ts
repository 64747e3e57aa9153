import { spawnSync } from "node:child_process";
import { openSync } from "node:fs";
import { join } from "node:path";
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

  it("costs no process its life where stderr is on a full disk", () => {
    const program = `
      import { createLog } from ${JSON.stringify(join(import.meta.dirname, "log.ts"))};
      createLog("test", "info").error("lost");
      process.stdout.write("alive");`;
    const full = openSync("/dev/full", "w");
    const { stdout, status } = spawnSync(
      process.execPath,
      ["--disable-warning=ExperimentalWarning", "--input-type=module", "--eval", program],
      { stdio: ["ignore", "pipe", full], encoding: "utf8", timeout: 10_000 },
    );
    expect({ stdout, status }).toEqual({ stdout: "alive", status: 0 });
  });
});
