/** `make demo` as its users see it. */
import { execFile, spawn } from "node:child_process";
import { rm } from "node:fs/promises";
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

describe("a demo that is broken off", () => {
  it.each([
    ["by Ctrl-C while the pod starts", "CreateVolume", "SIGINT"],
    ["by SIGTERM while containerd starts", "Set up", "SIGTERM"],
  ] as const)("%s takes everything down and says so", async (_, seen, signal) => {
    const demo = spawn(program, ["demo"], { stdio: ["ignore", "pipe", "inherit"] });
    let stdout = "";
    for await (const chunk of demo.stdout) {
      stdout += String(chunk);
      if (stdout.includes(seen) && !demo.killed) demo.kill(signal);
    }
    expect(stdout).toContain("  nothing               no mount, link");
    expect(stdout).toMatch(new RegExp(`\nFailed: .*interrupted by ${signal}\n$`));
    await rm(/ logs +(\S+)\/logs\n/.exec(stdout)?.[1] ?? "", { recursive: true });
  });
});

describe("the simulated demo on a node that Trivet runs on", () => {
  it("leaves the leases of the node alone", async () => {
    // In a mount namespace of its own: what stands for the node's state is on a tmpfs over it.
    const script = `
      mkdir -p /run/trivet && mount -t tmpfs none /run/trivet
      state=/run/trivet/cni/$(cat /proc/sys/kernel/random/boot_id)
      mkdir -p "$state" && echo kept >"$state/lease"
      ${program} demo --simulate >&2 && cat "$state/lease"`;
    const { stdout } = await run("unshare", ["--mount", "sh", "-c", script]);
    expect(stdout).toBe("kept\n");
  });
});
