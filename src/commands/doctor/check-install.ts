/** Trivet's own sockets, and whether its parts are of one release. */
import { dirname } from "node:path";
import type { DaemonFacts, InstallFacts, KubeletFacts, RuntimeFacts, SocketFacts } from "./facts.ts";
import { type Finding, inArea } from "./finding.ts";

const sockets = inArea("sockets");
const install = inArea("install");

/** A socket that anybody may open gives the node to anybody. */
const OTHERS = 0o007;

export function checkSockets(all: readonly SocketFacts[]): Finding[] {
  return all.flatMap(checkSocket);
}

function checkSocket({ path, serves, state, mode = 0, uid = 0, ...more }: SocketFacts): Finding[] {
  const { holder, openDirectory } = more;
  if (state === "absent") return [];
  if (state === "stale" || state === "no socket") {
    return [
      sockets.warning(path, {
        cause:
          state === "stale"
            ? "nobody listens on it: it was left by a process that ended"
            : "it is not a socket",
        consequence: `${serves} does not work`,
        remedy:
          state === "stale"
            ? "start the process that serves it, which replaces the file"
            : `remove ${path}, and restart what serves it`,
      }),
    ];
  }
  if (uid !== 0 || (mode & OTHERS) !== 0) {
    return [
      sockets.error(path, {
        cause: `it belongs to user ${uid} and has mode ${mode.toString(8).padStart(4, "0")}`,
        consequence: "others than root can do through it what only root may do on this node",
        remedy: `restart what serves it (${holder ?? "unknown"}); if it comes back like this, something changes it`,
      }),
    ];
  }
  if (openDirectory !== undefined) {
    const directory = dirname(path);
    return [
      sockets.error(path, {
        cause: `others than root may write to ${directory} (mode ${openDirectory.toString(8).padStart(4, "0")})`,
        consequence: "anybody can put a socket of his own in its place, and gets what is meant for ours",
        remedy: `run 'chmod go-w ${directory}'`,
        commands: [`chmod go-w ${directory}`],
      }),
    ];
  }
  return [sockets.ok(path, `${serves}${holder === undefined ? "" : `, by ${holder}`}`)];
}

/** What else of the node decides what is to be said of an installation. */
export interface Surroundings {
  readonly daemon: Pick<DaemonFacts, "version">;
  readonly kubelet: Pick<KubeletFacts, "endpoint">;
  readonly runtime: Pick<RuntimeFacts, "proxySocket">;
}

export function checkInstall(facts: InstallFacts, { daemon, kubelet, runtime }: Surroundings): Finding[] {
  const { current, currentIsWhole, unfinished, proxyAtBoot } = facts;
  const findings = unfinished.map((what) =>
    install.error("journal", {
      cause: `${what} was begun and never ended`,
      consequence: "files of the node may be of two minds",
      remedy: "run the same command again, which completes it; or take it back with trivet uninstall",
    }),
  );
  if (current === undefined) findings.push(install.ok("host", "no release is installed in /opt/trivet"));
  else if (currentIsWhole === false) {
    findings.push(
      install.error("host", {
        cause: `/opt/trivet/${current} is damaged: it is not what its MANIFEST says`,
        consequence: "the proxy and the standalone plugin may not start",
        remedy: "run 'trivet install' again",
      }),
    );
  } else findings.push(install.ok("host", `/opt/trivet/${current} is whole`));
  if (kubelet.endpoint === runtime.proxySocket && proxyAtBoot === false) {
    findings.push(
      install.error("boot", {
        cause: "nothing starts the proxy at the next boot, and the kubelet is configured with it",
        consequence: "after a boot the node stays NotReady, and no pod starts",
        remedy: "run 'systemctl enable trivet-cri.socket trivet-cri.service', or 'trivet bypass'",
        commands: ["systemctl enable trivet-cri.socket trivet-cri.service"],
      }),
    );
  }
  return [...findings, checkVersions(facts, daemon)];
}

/** Another build of a version has a part of its digest in its name. */
const plain = (place: string | undefined) => place?.replace(/-[0-9a-f]{8}(-\d+)?$/, "");

function checkVersions({ own, current, proxy }: InstallFacts, daemon: Pick<DaemonFacts, "version">): Finding {
  const versions = new Map(
    [
      ["this program", own],
      ["/opt/trivet/current", plain(current)],
      ["trivet node", daemon.version],
      ["trivet cri", plain(proxy)],
    ].filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
  const text = [...versions].map(([what, version]) => `${what} ${version}`).join(", ");
  if (new Set(versions.values()).size <= 1) return install.ok("versions", text);
  const isProxyOld = current !== undefined && proxy !== undefined && plain(proxy) !== plain(current);
  return install.warning("versions", {
    cause: `they are not in step: ${text}`,
    consequence: "what one of them says may not be what another one does",
    remedy: isProxyOld
      ? "run 'systemctl reload trivet-cri', which hands the proxy's calls over to the installed release"
      : "run 'trivet install' with the release that you want, and roll out the DaemonSet with the same one",
    ...(isProxyOld ? { commands: ["systemctl reload trivet-cri"] } : {}),
  });
}
