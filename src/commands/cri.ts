/** `trivet cri`: flags and settings of the proxy between the kubelet and the runtime. */
import type { Command } from "commander";
import { type CriConfig, criFileSchema, defaultListen, defaultUpstream } from "../config/cri.ts";
import { formatTcpAddress } from "../config/values.ts";
import { addSettings, printSettings, readSettings, type Setting } from "./settings.ts";

const settings: readonly Setting[] = [
  {
    path: "cri.listen",
    flag: "--listen <address>",
    help: "socket that the kubelet is told to use, unix:///PATH",
    default: defaultListen,
  },
  {
    path: "cri.upstream",
    flag: "--upstream <address>",
    help: "socket of the container runtime, unix:///PATH",
    default: defaultUpstream,
  },
  {
    path: "cri.policyDir",
    flag: "--policy-dir <dir>",
    help: "directory of RuntimePolicy files (*.yaml); without it no call is changed",
  },
  {
    path: "cri.callLog",
    flag: "--call-log <file>",
    help: "write one JSON line a call to this file, or - for stdout; without it calls go to the log, polls at debug",
  },
  {
    path: "cri.metricsAddress",
    flag: "--metrics-address <host:port>",
    help: "serve /metrics, /healthz and /readyz here; off without it",
  },
  {
    path: "cri.drainSeconds",
    flag: "--drain-seconds <seconds>",
    help: "how long calls in flight may take to end when told to stop",
    default: "10",
  },
];

export function define(command: Command): void {
  addSettings(command, settings);
  command.addHelpText(
    "after",
    `
Example:
  trivet cri --listen unix:///run/trivet/cri.sock --upstream unix:///run/containerd/containerd.sock \\
             --policy-dir /etc/trivet/policies --call-log /var/log/trivet/calls.jsonl

It is ready when its socket accepts. SIGTERM lets calls in flight end; a second signal ends it at once.`,
  );
  command.action(async () => {
    const { cri, logLevel } = await readSettings(command, settings, criFileSchema);
    if (printSettings(command, { logLevel, cri: toFile(cri) })) return;
    // Loaded only now: help and a mistake in the settings need nothing of it.
    const { runCri } = await import("./cri-process.ts");
    await runCri(cri, logLevel);
  });
}

/** The settings in force, in the form that the file has. */
function toFile({
  listen,
  upstream,
  metricsAddress,
  drainSeconds,
  ...rest
}: CriConfig): Record<string, unknown> {
  return {
    listen: `unix://${listen}`,
    upstream: `unix://${upstream}`,
    ...rest,
    ...(metricsAddress && { metricsAddress: formatTcpAddress(metricsAddress) }),
    drainSeconds: drainSeconds / 1000,
  };
}
