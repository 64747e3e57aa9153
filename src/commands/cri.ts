/** `trivet cri`: flags and settings of the proxy between the kubelet and the runtime. */
import type { Command } from "commander";
import { type CriConfig, criFileSchema, defaultListen, defaultUpstream } from "../config/cri.ts";
import { formatTcpAddress } from "../config/values.ts";
import { defaultRecordLevels, formatRecordLevels } from "../cri/record/record-filter.ts";
import { defineCalls } from "./cri/calls.ts";
import { definePolicy } from "./cri/policy.ts";
import { proxySettings } from "./cri/proxy-settings.ts";
import { defineReload } from "./cri/reload.ts";
import { takePredecessor } from "./cri/reload-predecessor.ts";
import { defineStats } from "./cri/stats.ts";
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
    path: "cri.policyCache",
    flag: "--policy-cache <file>",
    help: "keep the last good policies here, for a start with bad ones; without it such a start is refused",
  },
  {
    path: "cri.exemptNamespaces",
    flag: "--exempt-namespace <name>",
    help: "leave the pods of this namespace alone, unless a policy names it; repeatable",
    list: true,
    default: "kube-system trivet-system",
  },
  {
    path: "cri.unknownMethods",
    flag: "--unknown-methods <allow|deny>",
    help: "whether methods that are newer than this proxy pass",
    default: "allow",
  },
  {
    path: "cri.callLog",
    flag: "--call-log <file>",
    help: "write one JSON line a call to this file, or - for stdout; without it calls go to the log, polls at debug",
  },
  {
    path: "cri.callLogLevels",
    flag: "--call-log-level <class=level>",
    help: "which calls the call log keeps: off, errors, 1:N or all, for change, exec, image, probe, status, poll, other; repeatable",
    list: true,
    default: formatRecordLevels(defaultRecordLevels).join(" "),
  },
  {
    path: "cri.callLogSlowMs",
    flag: "--call-log-slow-ms <ms>",
    help: "a call that takes so long is kept whatever its level",
    default: "1000",
  },
  {
    path: "cri.callLogMaxMebibytes",
    flag: "--call-log-max-mebibytes <n>",
    help: "put the call log aside (FILE.1, FILE.2 ...) when it is so large",
    default: "32",
  },
  {
    path: "cri.callLogKeep",
    flag: "--call-log-keep <n>",
    help: "how many files that were put aside are kept",
    default: "4",
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
  {
    path: "cri.handOverSeconds",
    flag: "--hand-over-seconds <seconds>",
    help: "how long calls in flight at a reload may go on in the process that served before",
    default: "600",
  },
];

export function define(command: Command): void {
  addSettings(command, settings);
  command.option("--take-over", "take the sockets over from a trivet cri that serves them, and let it end");
  command.addHelpText(
    "after",
    `
Example:
  trivet cri --listen unix:///run/trivet/cri.sock --upstream unix:///run/containerd/containerd.sock \\
             --policy-dir /etc/trivet/policies --call-log /var/log/trivet/calls.jsonl

It is ready when its socket accepts. SIGTERM lets calls in flight end; a second signal ends it at once. SIGHUP reads the
policies again; SIGUSR2, or 'trivet cri reload', puts a new process in its place without losing a call.`,
  );
  const read = () => readSettings(command, settings, criFileSchema);
  defineReload(command, proxySettings(settings, "cri.listen"));
  defineCalls(command, proxySettings(settings));
  defineStats(command, proxySettings(settings, "cri.metricsAddress"));
  const exempt = proxySettings(settings, "cri.exemptNamespaces");
  definePolicy(command, { plain: proxySettings(settings), exempt });
  command.action(async () => {
    const predecessor = takePredecessor(process);
    try {
      const { cri, logLevel } = await read();
      if (printSettings(command, { logLevel, cri: toFile(cri) })) return;
      // Loaded only now: help and a mistake in the settings need nothing of it.
      const { runCri } = await import("./cri-process.ts");
      await runCri(cri, logLevel, { predecessor, takeOver: command.getOptionValue("takeOver") === true });
    } catch (error) {
      // Who started us goes on serving, and says why we do not.
      predecessor?.failed(error);
      throw error;
    }
  });
}

/** The settings in force, in the form that the file has. */
function toFile({
  listen,
  upstream,
  metricsAddress,
  callLogLevels,
  drainSeconds,
  handOverSeconds,
  listeners,
  ...rest
}: CriConfig): Record<string, unknown> {
  return {
    listen: `unix://${listen}`,
    upstream: `unix://${upstream}`,
    ...rest,
    callLogLevels: formatRecordLevels(callLogLevels),
    ...(metricsAddress && { metricsAddress: formatTcpAddress(metricsAddress) }),
    drainSeconds: drainSeconds / 1000,
    handOverSeconds: handOverSeconds / 1000,
    ...(listeners.length > 0 && {
      listeners: listeners.map((listener) => ({
        ...listener,
        listen: `unix://${listener.listen}`,
        mode: listener.mode.toString(8).padStart(4, "0"),
      })),
    }),
  };
}
