/** `make demo` as its users see it. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";

const run = promisify(execFile);
const program = join(import.meta.dirname, "../../bin/trivet");

describe("the demo on this machine", () => {
  it("shows one pod through all three legs, and leaves nothing", async () => {
    const { stdout } = await run(program, ["demo"]);
    expect(stdout).toMatch(/^Trivet: one pod through CSI, CNI and CRI\n/);
    for (const step of [
      "CreateVolume",
      "NodePublishVolume",
      "RunPodSandbox",
      "CreateContainer",
      "DeleteVolume",
    ]) {
      expect(stdout).toMatch(new RegExp(`^  ${step} +[\\d.]+ ms`, "m"));
    }
    expect(stdout).toMatch(/its address +10\.\d+\.7\.\d+\/32\n/);
    expect(stdout).toMatch(/its route +default via 169\.254\.1\.1 dev eth0/);
    expect(stdout).toMatch(/its environment +TRIVET_DEMO=set-by-policy\n/);
    expect(stdout).toMatch(/"hello from demo-pod"/);
    expect(stdout).toMatch(/config\.envs\[TRIVET_DEMO\] added by demo-environment/);
    expect(stdout).toMatch(/\nAll of it worked, and nothing is left\.\n$/);
  });
});
