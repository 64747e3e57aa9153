/** Takes the host ports of an attachment back, from its record alone, whatever state that is in. */
import { dirname } from "node:path";
import type { HostPort } from "../../host/nft.ts";
import type { CniDeps } from "../deps.ts";
import { findLeases, readLease } from "../ipam/leases.ts";
import type { AttachmentRecord } from "../state/attachments.ts";
import type { AttachmentKey, NetworkPaths } from "../state/paths.ts";
import { flowsTo, forgetFlows } from "./flows.ts";
import { holderOf, planHostPorts, portsOfRecord } from "./host-ports.ts";
import { readRecorded } from "./recorded.ts";
import { removeHostPorts } from "./remove-ports.ts";
import { ruleTable } from "./rule-table.ts";

interface Clearing {
  readonly paths: NetworkPaths;
  readonly key: AttachmentKey;
  readonly found: AttachmentRecord | "unreadable" | undefined;
}

/** Before its leases go: they tell the addresses where the record does not. Touches no rules where there were no ports. */
export async function clearHostPorts(deps: CniDeps, clearing: Clearing): Promise<void> {
  const ports = await portsToClear(deps, clearing);
  if (ports.length === 0) return;
  await removeHostPorts(deps.nft, ports);
  await forgetFlows(deps, flowsTo(ports));
}

async function portsToClear(deps: CniDeps, { paths, key, found }: Clearing): Promise<readonly HostPort[]> {
  if (found === undefined) return [];
  if (found === "unreadable") {
    const addresses = await findLeases(deps.files, paths, key);
    const { ports } = await deps.nft.readPorts(ruleTable);
    return ports.filter(({ podAddress }) => addresses.includes(podAddress));
  }
  if ((found.ports ?? []).length === 0) return [];
  if (found.state === "committed") return portsOfRecord(found, await ownAddresses(deps, paths, found));
  if (!found.ipam) return portsOfRecord(found, await findLeases(deps.files, paths, key));
  return claimedBy(deps, { paths, key, found });
}

/** Without those that another pod has by now: an earlier DEL may have been killed right after it released them. */
async function ownAddresses(
  { files }: CniDeps,
  paths: NetworkPaths,
  { network, addresses, containerId, ifname }: AttachmentRecord,
): Promise<string[]> {
  const own: string[] = [];
  for (const address of addresses) {
    const lease = await readLease(files, paths, { network, address });
    const isOthers = lease && (lease.containerId !== containerId || lease.ifname !== ifname);
    if (!isOthers) own.push(address);
  }
  return own;
}

/** An ADD that did not end, with addresses that another IPAM plugin gave: what it claims, and no other pod does. */
async function claimedBy(
  deps: CniDeps,
  { paths, key, found }: Clearing & { readonly found: AttachmentRecord },
): Promise<readonly HostPort[]> {
  const claims = planHostPorts(found.ports ?? [], ["0.0.0.0", "::"]);
  const { ports } = await deps.nft.findPorts(ruleTable, claims);
  if (ports.length === 0) return [];
  const stateDir = dirname(dirname(dirname(paths.attachments)));
  const { others } = await readRecorded(deps, { stateDir, key });
  return ports.filter((port) => !holderOf(port, others));
}
