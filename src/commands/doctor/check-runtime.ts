/** The container runtime, and the proxy before it. */
import type { Known, RuntimeAnswer, RuntimeFacts, RuntimeNetwork } from "./facts.ts";
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

function checkDirect({ socket, direct, network }: RuntimeFacts): Finding[] {
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
  if (name === "containerd") findings.push(...checkLoading(network));
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

/** containerd keeps what it loaded last, also where the files are gone or broken since. */
function checkLoading(network: RuntimeNetwork | undefined): Finding[] {
  if (network?.loadProblem === undefined) return [];
  return [
    error("network configuration", {
      cause: network.loadProblem,
      consequence:
        "no pod gets a network, or the node keeps a configuration that is gone with the next start of containerd",
      remedy: `see what is in ${network.confDir}: containerd takes the first file by name, and none where that is broken; 'trivet install cni' puts Trivet's there`,
    }),
  ];
}

function checkProxy({ proxySocket, proxied, proxyIsThere, direct, socket }: RuntimeFacts): Finding[] {
  if (!proxyIsThere) return [ok("proxy", `is not installed: nothing is at ${proxySocket}`)];
  if ("unknown" in proxied) {
    return [
      error("proxy", {
        cause: proxied.unknown,
        consequence: "a kubelet behind it goes NotReady, and no pod starts",
        remedy:
          "if the kubelet uses it, 'trivet bypass' takes it out of the way; then see 'journalctl -u trivet-cri'",
      }),
    ];
  }
  return [sameRuntime(proxied.value, direct, socket)];
}

function sameRuntime(through: RuntimeAnswer, direct: Known<RuntimeAnswer>, socket: string): Finding {
  const nameOf = ({ name, version }: RuntimeAnswer) => `${name} ${version}`;
  const what = nameOf(through);
  if ("unknown" in direct)
    return unknown("proxy", `it reaches ${what}; the runtime's own socket does not answer`);
  const isSame =
    nameOf(direct.value) === what && String(direct.value.images ?? "") === String(through.images ?? "");
  if (isSame) return ok("proxy", `it reaches ${what}`);
  const at = ({ images = [] }: RuntimeAnswer) =>
    images.length > 0 ? ` with its images in ${images[0]}` : "";
  return warning("proxy", {
    cause: `it reaches ${what}${at(through)}, and at ${socket} answers ${nameOf(direct.value)}${at(direct.value)}`,
    consequence: "pods run in another runtime than the one that was looked at here",
    remedy: `set cri.upstream in the configuration of the proxy to the socket of the runtime that you mean, such as unix://${socket}`,
  });
}
