/** The kubelet: its version, how it reaches the runtime and the driver, and whether it sees what is mounted. */
import type { KubeletFacts, RuntimeFacts } from "./facts.ts";
import { type Finding, inArea } from "./finding.ts";

const { ok, unknown, warning, error } = inArea("kubelet");

const OLDEST_MINOR = 26;
/** From here on a kubelet sends an authority that Node.js accepts. */
const OWN_REGISTRATION_MINOR = 29;

export function checkKubelet(
  facts: KubeletFacts,
  runtime: Pick<RuntimeFacts, "proxySocket" | "proxied">,
): Finding[] {
  return [
    ...checkVersion(facts),
    ...checkRegistration(facts),
    ...checkEndpoint(facts, runtime),
    checkPropagation(facts),
  ];
}

function checkVersion({ version, setup }: KubeletFacts): Finding[] {
  if (!version) {
    return [
      unknown(
        "version",
        "unknown" in setup ? setup.unknown : "the kubelet could not be asked for its version",
      ),
    ];
  }
  const [major, minor] = version;
  const text = `Kubernetes ${major}.${minor}`;
  if (major > 1 || minor >= OLDEST_MINOR) return [ok("version", text)];
  return [
    error("version", {
      cause: `${text} is older than 1.${OLDEST_MINOR}`,
      consequence: "it does not speak the CSI and CRI versions that Trivet speaks",
      remedy: `update the kubelet to 1.${OLDEST_MINOR} or newer`,
    }),
  ];
}

function checkRegistration({ version, registersItself, hasRegistrar, root }: KubeletFacts): Finding[] {
  const isOld = version !== undefined && version[0] === 1 && version[1] < OWN_REGISTRATION_MINOR;
  if (registersItself && isOld) {
    return [
      error("registration", {
        cause: `this kubelet sends an authority that Node.js refuses (before 1.${OWN_REGISTRATION_MINOR}), and trivet node answers it itself`,
        consequence: "the driver is never registered, and no volume can be published",
        remedy: "use the registrar component (kubectl apply -k daemonset/overlays/kubelet-1.26)",
      }),
    ];
  }
  if (registersItself) return [ok("registration", "trivet node answers the kubelet")];
  if (hasRegistrar) return [ok("registration", "a registrar sidecar answers the kubelet")];
  return [
    warning("registration", {
      cause: `nothing in ${root}/plugins_registry speaks for local.csi.trivet.dev`,
      consequence: "the kubelet does not know the driver, and no volume can be published",
      remedy:
        "start trivet node with --register, or the registrar sidecar for kubelets before 1.29; without volumes nothing must be done",
    }),
  ];
}

function checkEndpoint(
  { setup }: KubeletFacts,
  { proxySocket, proxied }: Pick<RuntimeFacts, "proxySocket" | "proxied">,
): Finding[] {
  if ("unknown" in setup) return [unknown("runtime endpoint", setup.unknown)];
  const { path } = setup.value.runtime;
  const notes = setup.value.notes.map((note) => ok("note", note));
  if (path !== proxySocket) return [ok("runtime endpoint", `${path}, without the proxy`), ...notes];
  if ("unknown" in proxied) {
    return [
      error("runtime endpoint", {
        cause: `the kubelet is configured with the proxy at ${path}, which does not answer`,
        consequence: "the node is NotReady, or will be in half a minute, and no pod starts",
        remedy: "run 'trivet bypass', or /opt/trivet/bypass where nothing else of Trivet works",
      }),
      ...notes,
    ];
  }
  return [ok("runtime endpoint", `${path}, the proxy`), ...notes];
}

function checkPropagation({ isShared, root }: KubeletFacts): Finding {
  if (isShared === undefined) return unknown("mount propagation", `no mount table shows ${root}`);
  if (isShared)
    return ok("mount propagation", `what is mounted below ${root} is seen by the kubelet and by pods`);
  return error("mount propagation", {
    cause: `${root} is on a private mount`,
    consequence:
      "volumes that a container mounts do not reach the kubelet or the pods: they see empty directories",
    remedy:
      "run 'mount --make-rshared /' at boot, before the container runtime starts (systemd does that by itself)",
  });
}
