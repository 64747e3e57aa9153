/** The container runtime, and the proxy before it. */
import type { Known, RuntimeAnswer, RuntimeFacts } from "./facts.ts";
import { type Finding, inArea } from "./finding.ts";

const { ok, unknown, warning, error } = inArea("runtime");

/** What is known of releases of containerd that matters to a plugin or a proxy. */
const traps: readonly {
  readonly applies: (version: readonly number[]) => boolean;
  readonly cause: string;
  readonly consequence: string;
  readonly remedy: string;
}[] = [
  {
    applies: ([major = 0, minor = 0]) => major === 1 && minor < 6,
    cause: "it is older than 1.6, the oldest that Trivet is made for",
    consequence: "it does not speak CRI v1 completely",
    remedy: "update containerd to 1.7 or 2",
  },
  {
    applies: ([major = 0, minor = 0, patch = 0]) =>
      (major === 1 && ((minor === 6 && patch <= 38) || (minor === 7 && patch <= 28))) ||
      (major === 2 && ((minor === 0 && patch <= 7) || (minor === 2 && patch === 0))),
    cause: "this release leaves out the CNI DEL of a pod whose ADD it did not finish",
    consequence: "leases of such pods stay until Trivet sweeps them",
    remedy:
      "nothing must be done: trivet node sweeps every few minutes; a newer patch release tries the DEL once",
  },
];

export function checkRuntime(facts: RuntimeFacts): Finding[] {
  return [...checkDirect(facts), ...checkProxy(facts)];
}

function checkDirect({ socket, direct }: RuntimeFacts): Finding[] {
  if ("unknown" in direct) {
    return [
      error("socket", {
        cause: direct.unknown,
        consequence: "no container can be started, stopped or looked at",
        remedy: `see whether the runtime runs ('systemctl status containerd'), or say where its socket is: --cri-socket unix://${socket}`,
      }),
    ];
  }
  const { name, version, notReady } = direct.value;
  const findings = notReady.map((cause) =>
    error("condition", {
      cause,
      consequence: "the kubelet reports the node as not ready",
      remedy: cause.startsWith("NetworkReady")
        ? "'trivet install cni' if the pod network is to be Trivet's; otherwise install one"
        : "see the log of the container runtime",
    }),
  );
  const numbers = version
    .replace(/^v/, "")
    .split(/[.~+-]/)
    .map(Number);
  const caught = name === "containerd" ? traps.filter(({ applies }) => applies(numbers)) : [];
  for (const { cause, consequence, remedy } of caught) {
    findings.push(
      (cause.startsWith("it is older") ? error : warning)(`${name} ${version}`, {
        cause,
        consequence,
        remedy,
      }),
    );
  }
  return findings.length > 0 ? findings : [ok(`${name} ${version}`, `answers at ${socket}, and is ready`)];
}

function checkProxy({ proxySocket, proxied, proxyIsThere, direct }: RuntimeFacts): Finding[] {
  if (!proxyIsThere) return [ok("proxy", `is not installed: nothing is at ${proxySocket}`)];
  if ("unknown" in proxied) {
    return [
      error("proxy", {
        cause: proxied.unknown,
        consequence: "a kubelet behind it goes NotReady, and no pod starts",
        remedy: "'trivet bypass' takes it out of the way; then see 'journalctl -u trivet-cri'",
      }),
    ];
  }
  return [sameRuntime(proxied.value, direct)];
}

function sameRuntime(through: RuntimeAnswer, direct: Known<RuntimeAnswer>): Finding {
  const what = `${through.name} ${through.version}`;
  if ("unknown" in direct)
    return unknown("proxy", `it reaches ${what}; the runtime's own socket does not answer`);
  if (direct.value.name === through.name && direct.value.version === through.version) {
    return ok("proxy", `it reaches ${what}`);
  }
  return warning("proxy", {
    cause: `it reaches ${what}, and the runtime's own socket ${direct.value.name} ${direct.value.version}`,
    consequence: "pods run in another runtime than the one that was looked at here",
    remedy: "set cri.upstream in the configuration to the socket of the runtime that you mean",
  });
}
