/**
 * Reads the directories of the reference IPAM plugin host-local: `<directory>/<network>/<address>`, whose content is the container's
 * id and, since 2018, a line end and the interface's name. Writes nothing there.
 */
import { join } from "node:path";
import type { Files } from "../../host/files.ts";
import { formatAddress, parseAddress } from "../ipam/address.ts";
import { identifierPattern } from "../protocol/environment.ts";
import { nullIfAbsent } from "../state/guard.ts";

/** Where host-local keeps its directories unless its `dataDir` says otherwise. */
export const defaultHostLocalDir = "/var/lib/cni/networks";

/** One address as host-local has it. */
export interface HostLocalLease {
  readonly network: string;
  /** Canonical. */
  readonly address: string;
  readonly containerId: string;
  readonly ifname: string;
}

/** A file that should be a lease and is not, such as one that a power cut left empty. */
export interface UnreadableLease {
  readonly network: string;
  readonly address: string;
  readonly why: string;
}

/** What a directory holds. */
export interface HostLocalState {
  readonly leases: readonly HostLocalLease[];
  readonly unreadable: readonly UnreadableLease[];
}

/** Before files had a second line, every interface of a pod was this one. */
const FIRST_INTERFACE = "eth0";
const ifnamePattern = /^[^/:\s]{1,15}$/;

/** The leases of all networks, or of one. Nothing where there is no such directory. */
export async function readHostLocal(
  files: Files,
  directory: string,
  onlyNetwork?: string,
): Promise<HostLocalState> {
  const leases: HostLocalLease[] = [];
  const unreadable: UnreadableLease[] = [];
  for (const { name: network, kind } of (await nullIfAbsent(files.list(directory))) ?? []) {
    if (kind !== "directory" || (onlyNetwork !== undefined && network !== onlyNetwork)) continue;
    if (!identifierPattern.test(network)) continue;
    for (const { name } of (await nullIfAbsent(files.list(join(directory, network)))) ?? []) {
      const address = parseAddress(name);
      if (!address) continue; // `lock` and `last_reserved_ip.N`
      const found = { network, address: formatAddress(address) };
      const content = await nullIfAbsent(files.read(join(directory, network, name)));
      if (!content) continue; // released just now
      const owner = parseOwner(content);
      if (typeof owner === "string") unreadable.push({ ...found, why: owner });
      else leases.push({ ...found, ...owner });
    }
  }
  return { leases, unreadable };
}

function parseOwner(content: Buffer): { containerId: string; ifname: string } | string {
  const [containerId = "", ifname = FIRST_INTERFACE] = content.toString("utf8").trim().split(/\r?\n/);
  if (containerId === "") return "the file is empty";
  if (!identifierPattern.test(containerId)) return "it does not begin with a container's id";
  return ifnamePattern.test(ifname) ? { containerId, ifname } : "its second line is no interface's name";
}
