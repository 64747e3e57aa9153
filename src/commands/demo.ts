/** `trivet demo`: one pod through all three legs on this machine. Runs from a checkout: it plays the kubelet's part. */
import type { Command } from "commander";

export function define(command: Command): void {
  command
    .option(
      "--simulate",
      "without root: the runtime and the kernel are the tests' fakes, and the report says so",
    )
    .option("--keep-logs", "leave the directory with the logs of all processes")
    .addHelpText(
      "after",
      `
Starts a private containerd, trivet node and trivet cri below a temporary directory, runs a pod with a volume, shows
what the container saw and what Trivet knows, takes everything down and checks that nothing is left on the machine.
Needs root, and Debian's containerd, runc, busybox-static and containernetworking-plugins.

Exit codes: 0 all of it worked and nothing is left, 1 something did not, 3 something that it needs is missing.`,
    )
    .action(async (options: { simulate?: boolean; keepLogs?: boolean }) => {
      const { runDemo } = await import("./demo/run.ts");
      process.exitCode = await runDemo({
        simulate: options.simulate === true,
        keepLogs: options.keepLogs === true,
        out: process.stdout,
      });
    });
}
