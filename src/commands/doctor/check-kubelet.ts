/** The kubelet: its version, how it reaches the runtime and the driver, and whether it sees what is mounted. */
import type { DaemonFacts, KubeletFacts, RuntimeFacts } from "./facts.ts";
import { type Finding, inArea } from "./finding.ts";

const { ok, unknown, warning, error } = inArea("kubelet");

const OLDEST_MINOR = 26;
/** From here on a kubelet sends an authority that Node.js accepts. */
const OWN_REGISTRATION_MINOR = 29;

type Runtime = Pick<RuntimeFacts, "proxySocket" | "proxied" | "socket">;
type Daemon = Pick<DaemonFacts, "servesVolumes" | "isRegistered">;

export function checkKubelet(
  facts: KubeletFacts,
  { runtime, daemon }: { readonly runtime: Runtime; readonly daemon: Daemon },
): Finding[] {
  return [
    ...checkVersion(facts),
    ...checkAuthority(facts),
    ...checkRoot(facts),
    ...checkRegistration(facts, daemon),
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

const isBefore = (version: KubeletFacts["version"], minor: number) =>
  version !== undefined && version[0] === 1 && version[1] < minor;

/** What a kubelet sends as the name of a server that has only a path: Node.js resets streams that name the path itself. */
function checkAuthority({ version }: KubeletFacts): Finding[] {
  if (!version || isBefore(version, OLDEST_MINOR)) return [];
  return [
    ok(
      "authority",
      isBefore(version, OWN_REGISTRATION_MINOR)
        ? `the CSI driver and the proxy take what it sends; its question who the driver is needs the registrar sidecar (before 1.${OWN_REGISTRATION_MINOR})`
        : "the CSI driver, its registration and the proxy take what it sends",
    ),
  ];
}

function checkRoot({ root, ownRoot, daemonRoot }: KubeletFacts): Finding[] {
  const wrong = (who: string, other: string) =>
    error("directory", {
      cause: `the kubelet's directory is ${ownRoot ?? root}, and ${who} ${other}`,
      consequence: "the kubelet never finds the driver's socket, and refuses its volumes' paths",
      remedy: `start trivet node with --kubelet-root ${ownRoot ?? root}; in a cluster use the overlay of your distribution, or set data.root in daemonset/kubelet-root.yaml`,
    });
  const kubelets = ownRoot ?? root;
  if (daemonRoot !== undefined && daemonRoot !== kubelets) {
    return [wrong("trivet node was started with", daemonRoot)];
  }
  return ownRoot !== undefined && ownRoot !== root ? [wrong("this was asked to look at", root)] : [];
}

function checkRegistration(
  { version, registersItself, hasRegistrar, root }: KubeletFacts,
  { servesVolumes, isRegistered }: Daemon,
): Finding[] {
  if (servesVolumes === false) return [];
  if (registersItself && isBefore(version, OWN_REGISTRATION_MINOR)) {
    return [
      error("registration", {
        cause: `this kubelet sends an authority that Node.js refuses (before 1.${OWN_REGISTRATION_MINOR}), and trivet node answers it itself`,
        consequence: "the driver is never registered, and no volume can be published",
        remedy: "use the registrar component (kubectl apply -k daemonset/overlays/kubelet-1.26)",
      }),
    ];
  }
  if (registersItself && isRegistered === false) {
    return [
      warning("registration", {
        cause: "trivet node is there to be asked, and the kubelet has not taken the driver yet",
        consequence: "no volume can be published until it does",
        remedy: `see whether the kubelet runs and watches ${root}/plugins_registry; its log says why it refuses a driver`,
      }),
    ];
  }
  if (registersItself) return [ok("registration", "trivet node answers the kubelet")];
  if (hasRegistrar) return [ok("registration", "a registrar sidecar answers the kubelet")];
  return [
    warning("registration", {
      cause: `nobody answers in ${root}/plugins_registry for local.csi.trivet.dev`,
      consequence: "the kubelet does not know the driver, and no volume can be published",
      remedy:
        "start trivet node with --register, or the registrar sidecar for kubelets before 1.29; without volumes nothing must be done",
    }),
  ];
}

function checkEndpoint(
  { setup, endpoint }: KubeletFacts,
  { proxySocket, proxied, socket }: Runtime,
): Finding[] {
  if ("unknown" in setup) return [unknown("runtime endpoint", setup.unknown)];
  const { runtime, image } = setup.value;
  const path = endpoint ?? runtime.path;
  const findings = setup.value.notes.map((note) => ok("note", note));
  if (image && image.path !== runtime.path) {
    findings.unshift(
      warning("image endpoint", {
        cause: `the kubelet asks ${image.path} for images, and ${runtime.path} for everything else`,
        consequence:
          runtime.path === proxySocket || image.path === proxySocket
            ? "the proxy sees one half of the calls only"
            : "the two must be one runtime, or no container finds its image",
        remedy:
          "'trivet install kubelet' sets both; otherwise take the image endpoint out of the kubelet's configuration",
      }),
    );
  }
  if (path !== proxySocket && path !== socket) {
    return [
      warning("runtime endpoint", {
        cause: `the kubelet uses the runtime at ${path}, and ${socket} is what was looked at here`,
        consequence: "what is said here of the runtime may be of another one",
        remedy: `run this again with --cri-socket unix://${path}`,
      }),
      ...findings,
    ];
  }
  if (path !== proxySocket) return [ok("runtime endpoint", `${path}, without the proxy`), ...findings];
  if ("unknown" in proxied) {
    return [
      error("runtime endpoint", {
        cause: `the kubelet is configured with the proxy at ${path}, which does not answer`,
        consequence: "the node is NotReady, or will be in half a minute, and no pod starts",
        remedy: "run 'trivet bypass', or /opt/trivet/bypass where nothing else of Trivet works",
        commands: ["trivet bypass"],
      }),
      ...findings,
    ];
  }
  return [ok("runtime endpoint", `${path}, the proxy before ${socket}`), ...findings];
}

function checkPropagation({ isShared, daemonShares, root }: KubeletFacts): Finding {
  if (isShared === undefined) return unknown("mount propagation", `no mount table shows ${root}`);
  if (!isShared && daemonShares === "same mounts") {
    return ok(
      "mount propagation",
      `${root} is on a private mount; trivet node runs beside the kubelet, and needs no other`,
    );
  }
  const consequence =
    "volumes that trivet node mounts in its container do not reach the kubelet or the pods; a container that asks for it does not start";
  if (!isShared) {
    return error("mount propagation", {
      cause: `${root} is on a private mount`,
      consequence,
      remedy:
        "run 'mount --make-rshared /' at boot, before the container runtime starts (systemd does that by itself), then restart the runtime and trivet node",
      commands: ["mount --make-rshared /"],
    });
  }
  if (daemonShares === false) {
    return error("mount propagation", {
      cause: `trivet node has ${root} in its container, and what it mounts there stays in it`,
      consequence,
      remedy:
        "give that mount mountPropagation: Bidirectional, as daemonset/base/node.yaml does; if it has that, restart the pod: the host's mount was made shared since",
    });
  }
  return ok("mount propagation", `what is mounted below ${root} is seen by the kubelet and by pods`);
}
