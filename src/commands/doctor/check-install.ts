/** Trivet's own sockets, and whether its parts are of one release. */
import type { InstallFacts, SocketFacts } from "./facts.ts";
import { type Finding, inArea } from "./finding.ts";

const sockets = inArea("sockets");
const install = inArea("install");

/** A socket that anybody may open gives the node to anybody. */
const OTHERS = 0o007;

export function checkSockets(all: readonly SocketFacts[]): Finding[] {
  return all.flatMap(checkSocket);
}

function checkSocket({ path, serves, state, mode = 0, uid = 0, holder }: SocketFacts): Finding[] {
  if (state === "absent") return [];
  if (state === "stale" || state === "no socket") {
    return [
      sockets.warning(path, {
        cause: state === "stale" ? "nobody listens on it" : "it is not a socket",
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
  return [sockets.ok(path, `${serves}${holder === undefined ? "" : `, by ${holder}`}`)];
}

export function checkInstall(facts: InstallFacts): Finding[] {
  const { own, current, currentIsWhole, node, proxy, unfinished } = facts;
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
        cause: `/opt/trivet/${current} is damaged`,
        consequence: "the proxy and the standalone plugin may not start",
        remedy: "run 'trivet install' again",
      }),
    );
  }
  const versions = new Map(
    [
      ["this program", own],
      ["/opt/trivet/current", current?.replace(/-[0-9a-f]{8}.*$/, "")],
      ["trivet node", node],
      ["trivet cri", proxy?.replace(/-[0-9a-f]{8}.*$/, "")],
    ].filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
  const text = [...versions].map(([what, version]) => `${what} ${version}`).join(", ");
  if (new Set(versions.values()).size <= 1) findings.push(install.ok("versions", text));
  else {
    findings.push(
      install.warning("versions", {
        cause: `they are not in step: ${text}`,
        consequence: "what one of them says may not be what another one does",
        remedy:
          "run 'trivet install' with the release that you want, and roll out the DaemonSet with the same one",
      }),
    );
  }
  return findings;
}
