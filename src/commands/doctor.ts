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
}

export function define(command: Command): void {
  command
    .addOption(
      new Option("-o, --output <format>", "table or json").choices(["table", "json"]).default("table"),
    )
    .option("-a, --all", "show also what is as it should be")
    .option("--strict", "exit with 1 for warnings too")
    .addOption(
      new Option("--distribution <name>", "take the paths of this distribution").choices(
        Object.keys(distributions),
      ),
    )
    .option(
      "--root <dir>",
      "where the host's files are (default: / or, in a container that sees the host's processes, /proc/1/root)",
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

Exit code: 0 when nothing is an error, 1 otherwise (with --strict also for warnings).

Examples:
  trivet doctor
  trivet doctor --all --distribution k3s
  trivet doctor -o json | jq '.findings[] | select(.level == "error")'`,
  );
  command.action(async (given: Given) => {
    const [{ createDoctorDeps }, { gatherFacts }, { diagnose }, { formatReport }, { countLevels }] =
      await Promise.all([
        import("./doctor/deps.ts"),
        import("./doctor/gather.ts"),
        import("./doctor/diagnose.ts"),
        import("./doctor/report.ts"),
        import("./doctor/finding.ts"),
      ]);
    const deps = await createDoctorDeps(settingsOf(given), given.root);
    const findings = diagnose(await gatherFacts(deps));
    const counts = countLevels(findings);
    if (given.output === "json") print(`${JSON.stringify({ counts, findings }, null, 2)}\n`);
    else
      print(
        formatReport(findings, {
          all: given.all === true,
          colour: process.stdout.isTTY && !process.env.NO_COLOR,
        }),
      );
    process.exitCode = counts.error > 0 || (given.strict && counts.warning > 0) ? 1 : 0;
  });
}

/** What was given goes over the distribution's, and that over the usual. */
export function settingsOf(given: Given): DoctorSettings {
  const usual = Object.fromEntries(Object.entries(flags).map(([name, [, , value]]) => [name, value]));
  const named = new Map(
    Object.entries(flags).map(([name, [flag]]) => [new Option(flag).attributeName(), name] as const),
  );
  const own = Object.fromEntries(
    Object.entries(given).flatMap(([attribute, value]) => {
      const name = named.get(attribute);
      return name === undefined || value === undefined
        ? []
        : [[name, String(value).replace(/^unix:\/\//, "")]];
    }),
  );
  const settings = {
    ...usual,
    ...(given.distribution === undefined ? {} : distributions[given.distribution]),
    ...own,
  } as unknown as DoctorSettings;
  if (settings.csiSocket !== "") return settings;
  return { ...settings, csiSocket: `${settings.kubeletRoot}/plugins/local.csi.trivet.dev/csi.sock` };
}
