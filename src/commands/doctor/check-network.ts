/** The plugin, its configuration, and what stands beside it. */
import { judgeNeighbours } from "../../cni/install/neighbours.ts";
import type { NetworkFacts, RuntimeFacts } from "./facts.ts";
import { type Finding, inArea } from "./finding.ts";

const { ok, unknown, warning, error } = inArea("network");

export function checkNetwork(
  facts: NetworkFacts,
  { usesInternalLoopback }: Pick<RuntimeFacts, "usesInternalLoopback">,
): Finding[] {
  const ours = [...facts.configurations].find(([, text]) => usesTrivet(text))?.[0];
  if (ours === undefined) {
    return [
      ok("plugin", `no configuration in ${facts.confDir} uses Trivet: the pod network is somebody else's`),
    ];
  }
  return [
    ...checkProgram(facts),
    ...checkLoopback(facts, usesInternalLoopback),
    ...checkConfigurations(facts, ours),
    checkStatus(facts),
  ];
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

function checkLoopback({ loopback, binDir }: NetworkFacts, usesInternalLoopback: boolean): Finding[] {
  if (loopback || usesInternalLoopback) return [ok("loopback", "is brought up in pods")];
  return [
    error("loopback", {
      cause: `${binDir}/loopback is not there, and containerd does not bring loopback up by itself`,
      consequence: "no pod can start on this node",
      remedy: "'trivet install cni' puts one there; or install the package of the reference CNI plugins",
    }),
  ];
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
