/**
 * The `loopback` plugin, for hosts that have none: runtimes chain a network `cni-loopback` of that type before every pod's own, and
 * start no pod without it. Brings `lo` up in the pod and says so as the reference plugin does. Keeps no state.
 */
import { TrivetError } from "../errors.ts";
import type { NetnsHandle } from "../host/netns.ts";
import type { CniDeps } from "./deps.ts";
import type { AttachmentCall } from "./protocol/environment.ts";
import { isObject, type JsonObject } from "./protocol/problems.ts";
import { toVersion } from "./protocol/result-version.ts";
import { parseVersion } from "./protocol/versions.ts";

/** The `type` by which a configuration asks for it. */
export const loopbackType = "loopback";

/** Whatever CNI_IFNAME says, as with the reference plugin. */
const LOOPBACK = "lo";

/** What goes to stdout. Throws kinds `environment`, `version` and `precondition` (CHECK of a loopback that is down). */
export async function loopback(
  deps: Pick<CniDeps, "netns" | "netlink">,
  call: AttachmentCall,
  config: JsonObject,
): Promise<string> {
  const cniVersion = parseVersion(config.cniVersion);
  // The kernel takes the loopback away with the namespace; until then another interface of the pod may need it.
  if (call.command === "DEL") return "";
  const handle = openNamespace(deps, call.netns);
  try {
    const connection = deps.netlink.connect(handle);
    try {
      if (call.command === "ADD") await connection.apply([{ op: "link.up", name: LOOPBACK }]);
      const link = await connection.link(LOOPBACK);
      if (!link?.up) throw down(call.netns);
      if (call.command === "CHECK") return "";
      const addresses = await connection.addresses(link.index);
      return `${JSON.stringify(toVersion(resultOf(config, call.netns, addresses), cniVersion))}\n`;
    } finally {
      connection.close();
    }
  } finally {
    handle.close();
  }
}

function openNamespace({ netns }: Pick<CniDeps, "netns">, path: string): NetnsHandle {
  const handle = netns.open(path);
  if (handle && handle.inode !== netns.currentInode()) return handle;
  handle?.close();
  throw new TrivetError({
    kind: "environment",
    op: "loopback.open",
    subject: path,
    message: `CNI_NETNS is "${path}": ${handle ? "it is the host's own namespace" : "there is no network namespace"}`,
  });
}

function down(netns: string): TrivetError {
  return new TrivetError({
    kind: "precondition",
    op: "loopback.check",
    subject: LOOPBACK,
    message: `interface ${LOOPBACK} in ${netns} is down`,
  });
}

/** After another plugin, that one's result as it was. */
function resultOf(
  { prevResult }: JsonObject,
  netns: string,
  addresses: readonly { address: string; prefixLength: number }[],
): JsonObject {
  if (isObject(prevResult)) return toVersion(prevResult, "1.1.0");
  return {
    interfaces: [{ name: LOOPBACK, mac: "00:00:00:00:00:00", sandbox: netns }],
    ips: addresses.map(({ address, prefixLength }) => ({
      address: `${address}/${prefixLength}`,
      interface: 0,
    })),
    dns: {},
  };
}
