/** The plugin, its configuration, and what stands beside it. */
import { judgeNeighbours } from "../../cni/install/neighbours.ts";
import type { NetworkFacts, RuntimeFacts, RuntimeNetwork } from "./facts.ts";
import { type Finding, inArea } from "./finding.ts";

const { ok, unknown, warning, error } = inArea("network");

export function checkNetwork(
  facts: NetworkFacts,
  runtime: Pick<RuntimeFacts, "network" | "direct">,
): Finding[] {
  const { configurations, confDir, strayed } = facts;
  const ours = [...configurations].find(([, text]) => usesTrivet(text))?.[0];
  if (ours !== undefined) {
    return [
      ...checkProgram(facts),
      ...checkLoopback(facts, runtime.network),
      ...checkConfigurations(facts, ours),
      ...checkSpecVersion(configurations.get(ours) ?? "", ours, runtime.direct),
      checkAgent(facts),
      checkStatus(facts),
    ];
  }
  // One that was meant to be ours and is broken is nobody's.
  const broken = [...configurations.keys()].find((name) => /trivet/.test(name));
  if (broken !== undefined) {
    return [
      error("configuration", {
        cause: `${confDir}/${broken} is no configuration that names Trivet`,
        consequence: "pods get another network than Trivet's, or none",
        remedy:
          "'trivet install cni --edited replace' writes it anew; or remove it, if the pod network is somebody else's",
      }),
    ];
  }
  if (strayed.length > 0) {
    return [
      error("configuration", {
        cause: `${strayed.join(", ")} is Trivet's, and the container runtime looks at ${confDir}`,
        consequence: "pods get another network than Trivet's, or none",
        remedy: `run 'trivet install cni --conf-dir ${confDir}', and 'trivet uninstall cni' for what is elsewhere`,
      }),
    ];
  }
  return [ok("plugin", `no configuration in ${confDir} uses Trivet: the pod network is somebody else's`)];
}

/** Whether a configuration names our plugin; of text that is no JSON nothing can be said. */
export function usesTrivet(text: string): boolean {
  try {
    const { type, plugins = [] } = JSON.parse(text) as { type?: unknown; plugins?: { type?: unknown }[] };
    return (
      type === "trivet" || (Array.isArray(plugins) && plugins.some((plugin) => plugin?.type === "trivet"))
    );
  } catch {
    return false;
  }
}

function checkProgram({ plugin, binDir }: NetworkFacts): Finding[] {
  const path = `${binDir}/trivet`;
  if (plugin === "native") return [ok("plugin", `${path} is the static client`)];
  if (plugin === "script") {
    return [
      warning("plugin", {
        cause: `${path} is the script that stands in for the static client`,
        consequence:
          "every ADD and DEL starts a process of Node.js: some 25 ms and 43 MB in place of 1 ms and 1 MB",
        remedy:
          "run 'trivet install cni' from a release or an image that has the static client for this processor",
      }),
    ];
  }
  const cause = plugin === undefined ? `${path} is not there` : `${path} may not be executed`;
  return [
    error("plugin", {
      cause,
      consequence: "no pod can start on this node",
      remedy: "run 'trivet install cni'",
    }),
  ];
}

function checkLoopback({ loopback, binDir }: NetworkFacts, network: RuntimeNetwork | undefined): Finding[] {
  if (loopback || network?.usesLoopbackPlugin === false) return [ok("loopback", "is brought up in pods")];
  return [
    error("loopback", {
      cause: `${binDir}/loopback is not there or may not be executed, and containerd starts it before every pod's own network`,
      consequence: "no pod can start on this node",
      remedy:
        "'trivet install cni --loopback' puts one there; or install the package of the reference CNI plugins",
    }),
  ];
}

/** Before containerd 2 a list is refused whose `cniVersion` is newer than 1.0.0, whatever `cniVersions` says. */
function checkSpecVersion(text: string, ours: string, direct: RuntimeFacts["direct"]): Finding[] {
  const { cniVersion } = JSON.parse(text) as { cniVersion?: unknown };
  if ("unknown" in direct || direct.value.name !== "containerd") return [];
  const major = Number.parseInt(direct.value.version.replace(/^v/, ""), 10);
  if (major >= 2 || cniVersion !== "1.1.0") return [];
  return [
    error("configuration", {
      cause: `${ours} says "cniVersion": "1.1.0", which containerd ${direct.value.version} does not know`,
      consequence: "it loads no network, and no pod can start",
      remedy:
        'write "cniVersion": "1.0.0" and "cniVersions": ["1.0.0", "1.1.0"], as \'trivet install cni\' does',
    }),
  ];
}

function checkAgent({ agentAnswers }: NetworkFacts): Finding {
  if (agentAnswers) return ok("agent", "trivet node answers the plugin");
  return warning("agent", {
    cause: "the CNI agent of trivet node does not answer",
    consequence:
      "the plugin works by itself: every ADD and DEL starts a process of Node.js, and nobody sweeps what dead pods leave",
    remedy: "start trivet node; in a cluster see the log of the pod of this node",
  });
}

function checkConfigurations({ configurations, confDir }: NetworkFacts, ours: string): Finding[] {
  const neighbours = [...configurations].map(([name, text]) => ({ name, text }));
  const warnings = judgeNeighbours(neighbours, ours);
  if (warnings.length === 0)
    return [ok("configuration", `${confDir}/${ours} is the one that the runtime uses`)];
  return warnings.map((cause) =>
    (cause.includes("does no harm") ? warning : error)("configuration", {
      cause,
      consequence: cause.includes("does no harm")
        ? "if ours is ever removed, the node has no network"
        : "pods get another network than Trivet's, or none",
      remedy: `look at ${confDir} and move away what does not belong there`,
    }),
  );
}

function checkStatus({ status }: NetworkFacts): Finding {
  if ("unknown" in status) return unknown("STATUS", status.unknown);
  if (status.value === undefined) return ok("STATUS", "an ADD would work now");
  return error("STATUS", {
    cause: status.value,
    consequence: "new pods cannot be attached; runtimes that ask for it report the node as not ready",
    remedy: "'trivet network leases' shows who has the addresses, 'trivet network gc' what could be freed",
  });
}
