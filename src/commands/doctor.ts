/** `trivet doctor`: everything that could be wrong with Trivet on a node, with what follows from it and what to do. */
import { type Command, Option } from "commander";
import type { DoctorSettings } from "./doctor/gather.ts";
import { print } from "./print.ts";

/** Flags with their defaults, by the names that commander gives them. */
const flags: Readonly<Record<keyof DoctorSettings, readonly [flag: string, help: string, value: string]>> = {
  kubeletRoot: ["--kubelet-root <dir>", "the kubelet's directory", "/var/lib/kubelet"],
  criSocket: ["--cri-socket <path>", "the container runtime's own socket", "/run/containerd/containerd.sock"],
  proxySocket: ["--proxy-socket <path>", "the socket of the CRI proxy", "/run/trivet/cri.sock"],
  storageSocket: ["--storage-socket <path>", "where 'trivet storage' asks", "/run/trivet/storage.sock"],
  cniSocket: ["--cni-socket <path>", "the socket of the CNI agent", "/run/trivet/cni.sock"],
  csiSocket: ["--csi-socket <path>", "the socket of the CSI driver", ""],
  confDir: ["--cni-conf-dir <dir>", "where network configurations are", "/etc/cni/net.d"],
  binDir: ["--cni-bin-dir <dir>", "where CNI plugins are", "/opt/cni/bin"],
  stateDir: ["--state-dir <dir>", "what outlives a boot", "/var/lib/trivet"],
  healthUrl: ["--health-url <url>", "where trivet node serves its health", "http://127.0.0.1:9808"],
  proxyMetricsUrl: [
    "--proxy-metrics-url <url>",
    "where trivet cri serves its metrics",
    "http://127.0.0.1:9809",
  ],
};

/** Where common distributions have what lies elsewhere. */
const distributions: Readonly<Record<string, Partial<DoctorSettings>>> = {
  k3s: { criSocket: "/run/k3s/containerd/containerd.sock" },
  rke2: { criSocket: "/run/k3s/containerd/containerd.sock" },
  k0s: { kubeletRoot: "/var/lib/k0s/kubelet", criSocket: "/run/k0s/containerd.sock" },
  microk8s: {
    kubeletRoot: "/var/snap/microk8s/common/var/lib/kubelet",
    criSocket: "/var/snap/microk8s/common/run/containerd.sock",
    confDir: "/var/snap/microk8s/current/args/cni-network",
    binDir: "/var/snap/microk8s/current/opt/cni/bin",
  },
};

interface Given extends Partial<DoctorSettings> {
  readonly output: string;
  readonly all?: boolean;
  readonly strict?: boolean;
  readonly root?: string;
  readonly distribution?: string;
  readonly config?: string;
}

export function define(command: Command): void {
  command
    .addOption(
      new Option("-o, --output <format>", "table or json").choices(["table", "json"]).default("table"),
    )
    .option("-a, --all", "show also what is as it should be")
    .option("--strict", "exit with 1 for warnings too")
    .addOption(
      new Option(
        "--distribution <name>",
        "take the paths of this distribution (default: of the one that runs)",
      ).choices(Object.keys(distributions)),
    )
    .option("--config <file>", "the configuration of trivet node: its pools are looked at when it is away")
    .option(
      "--root <dir>",
      "where the host's files are (default: / or, in a container that sees the host's processes, the host's root)",
    );
  for (const [flag, help, value] of Object.values(flags)) {
    command.option(
      flag,
      value === "" ? `${help} (default: below the kubelet's directory)` : `${help} (default: ${value})`,
    );
  }
  command.addHelpText(
    "after",
    `
It changes nothing. Every finding has a cause, a consequence and a remedy. In the pod of the DaemonSet it looks at the node:
  kubectl -n trivet-system exec ds/trivet-node -c trivet -- trivet doctor

Exit code: 0 when nothing is an error, 1 otherwise (with --strict also for warnings), 3 when it is not run as root.

Examples:
  trivet doctor
  trivet doctor --all --distribution k3s
  trivet doctor -o json | jq '.findings[] | select(.level == "error")'`,
  );
  command.action(async (given: Given) => {
    if (process.getuid?.() !== 0) {
      process.stderr.write(
        "trivet: doctor looks at sockets and files that only root may open, and would see faults that are none: run it as root ('sudo trivet doctor')\n",
      );
      process.exitCode = 3;
      return;
    }
    const [
      { createDoctorDeps },
      { detectNode },
      { gatherFacts },
      { diagnose },
      { formatReport },
      { countLevels },
    ] = await Promise.all([
      import("./doctor/deps.ts"),
      import("./doctor/detect-node.ts"),
      import("./doctor/gather.ts"),
      import("./doctor/diagnose.ts"),
      import("./doctor/report.ts"),
      import("./doctor/finding.ts"),
    ]);
    const { root, config } = given;
    const settings = settingsOf(given, await detectNode(root));
    const deps = await createDoctorDeps({ settings, given: namesGiven(given), root, config });
    const findings = diagnose(await gatherFacts(deps));
    const counts = countLevels(findings);
    if (given.output === "json") print(`${JSON.stringify({ counts, findings }, null, 2)}\n`);
    else {
      const { isTTY, columns } = process.stdout;
      const colour = isTTY && !process.env.NO_COLOR && process.env.TERM !== "dumb";
      print(
        formatReport(findings, { all: given.all === true, colour, columns: isTTY ? columns : undefined }),
      );
    }
    process.exitCode = counts.error > 0 || (given.strict && counts.warning > 0) ? 1 : 0;
  });
}

/** What was found on the node, as far as it decides where to look. */
export interface DetectedNode {
  readonly distribution?: string | undefined;
  /** The kubelet's own `--root-dir`, and the runtime's socket that it uses. */
  readonly kubeletRoot?: string | undefined;
  readonly criSocket?: string | undefined;
}

/** What was given goes over the distribution's, that over what the node shows, and that over the usual. */
export function settingsOf(given: Given, found: DetectedNode = {}): DoctorSettings {
  const usual = Object.fromEntries(Object.entries(flags).map(([name, [, , value]]) => [name, value]));
  const own = Object.fromEntries(
    entriesOf(given).map(([name, value]) => [name, String(value).replace(/^unix:\/\//, "")] as const),
  );
  const { distribution, ...shown } = found;
  const settings = {
    ...usual,
    ...distributions[given.distribution ?? distribution ?? ""],
    ...(given.distribution === undefined ? withoutGaps(shown) : {}),
    ...own,
  } as unknown as DoctorSettings;
  if (settings.csiSocket !== "") return settings;
  return { ...settings, csiSocket: `${settings.kubeletRoot}/plugins/local.csi.trivet.dev/csi.sock` };
}

const withoutGaps = (found: object) =>
  Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined));

/** By the name of the setting. */
function entriesOf(given: Given): [string, unknown][] {
  const named = new Map(
    Object.entries(flags).map(([name, [flag]]) => [new Option(flag).attributeName(), name] as const),
  );
  return Object.entries(given).flatMap(([attribute, value]) => {
    const name = named.get(attribute);
    return name === undefined || value === undefined ? [] : [[name, value] as [string, unknown]];
  });
}

function namesGiven(given: Given): Readonly<Partial<Record<keyof DoctorSettings, boolean>>> {
  return Object.fromEntries(entriesOf(given).map(([name]) => [name, true]));
}
