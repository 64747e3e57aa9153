/** `make demo SIMULATE=1`: for machines without root, and never chosen silently. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";

const run = promisify(execFile);
const program = join(import.meta.dirname, "../bin/trivet");

describe("the simulated demo", () => {
  it("plays all of it over the fakes, and says SIMULATED in its first and last line", async () => {
    const { stdout } = await run(program, ["demo", "--simulate"]);
    const lines = stdout.trimEnd().split("\n");
    expect(lines[0]).toMatch(/^SIMULATED: /);
    expect(lines.at(-1)).toBe("SIMULATED: All of it worked, and nothing is left.");
    expect(stdout).toMatch(/its address +10\.190\.7\.\d+\/32\n/);
    expect(stdout).toMatch(/its environment +TRIVET_DEMO=set-by-policy\n/);
    expect(stdout).toMatch(/CreateContainer +OK .* config\.envs\[TRIVET_DEMO\] added by demo-environment/);
  });
});
