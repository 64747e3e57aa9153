/** `trivet bypass`: runs the script that does it, which also works by itself when nothing else of Trivet does. */
import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { defaultStateDir } from "../config/node.ts";
import { packageRoot } from "../host/package-root.ts";

interface BypassFlags {
  readonly stateDir: string;
  readonly force?: boolean;
  readonly dryRun?: boolean;
  readonly restart: boolean;
}

export function define(command: Command): void {
  command
    .option("--state-dir <dir>", "as it was given to install", defaultStateDir)
    .option("--force", "also put back files that somebody changed since")
    .option("--no-restart", "do not restart the kubelet")
    .option("--dry-run", "only say what would be done")
    .addHelpText(
      "after",
      `
Puts back what 'trivet install kubelet' changed and restarts the kubelet, which then speaks to the container runtime itself. Pods that
run are not touched. /opt/trivet/bypass is the same as a shell script, for the day on which this program does not start.`,
    )
    .action(({ stateDir, force, dryRun, restart }: BypassFlags) => {
      const args = [
        `--state-dir=${resolve(stateDir)}`,
        ...(force ? ["--force"] : []),
        ...(dryRun ? ["--dry-run"] : []),
        ...(restart ? [] : ["--no-restart"]),
      ];
      const script = join(packageRoot, "daemonset/host/bypass");
      process.exitCode = spawnSync("sh", [script, ...args], { stdio: "inherit" }).status ?? 1;
    });
}
