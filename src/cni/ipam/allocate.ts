/**
 * The addresses of an attachment, whoever leases them: taken for ADD (all or none, each undo registered first), marked as
 * used at its end, freed for DEL from the record alone, and looked at for CHECK.
 */
import { TrivetError } from "../../errors.ts";
import type { CallContext } from "../context.ts";
import type { CniDeps } from "../deps.ts";
import type { OwnIpam, PodRoute } from "../protocol/ipam-config.ts";
import type { NetworkConfig } from "../protocol/netconf.ts";
import type { JsonObject } from "../protocol/problems.ts";
import type { Attachment, AttachmentRecord } from "../state/attachments.ts";
import type { Staging } from "../state/claim.ts";
import type { AttachmentKey, NetworkPaths } from "../state/paths.ts";
import type { Undo } from "../undo.ts";
import { contains, formatAddress, type IpNetwork, parseAddress } from "./address.ts";
import { claimLease, commitLease, findLeases, readLease, releaseLease } from "./leases.ts";

/** One address of a pod. A routed link uses it as a host route; a bridged one needs the rest. */
export interface AllocatedAddress {
  readonly address: string;
  readonly family: 4 | 6;
  /** Of the subnet that the address lies in. */
  readonly prefixLength: number;
  /** The subnet's gateway, where there is one. */
  readonly gateway: string | undefined;
}

/** All that IPAM says about an attachment. */
export interface Allocation {
  /** In the order of the range sets; never empty. */
  readonly addresses: readonly AllocatedAddress[];
  /** None: the default route of each family that the pod has an address of. */
  readonly routes: readonly PodRoute[];
  /** Where the IPAM plugin gave one. */
  readonly dns: JsonObject | undefined;
  /** The subnets of the whole network, for masquerade; of a foreign IPAM only those of these addresses. */
  readonly subnets: readonly IpNetwork[];
}

interface AllocateOptions {
  readonly context: CallContext;
  readonly staging: Staging;
  readonly config: NetworkConfig;
  readonly attachment: Attachment;
  readonly undo: Undo;
}

/** Leases what the attachment needs, as pending. Throws kind `exhausted` when no address is free. */
export async function allocate(options: AllocateOptions): Promise<Allocation> {
  const { ipam } = options.config;
  if (ipam.kind === "own") return allocateOwn(options, ipam);
  throw new TrivetError({
    kind: "unsupported",
    op: "ipam.delegate",
    subject: ipam.type,
    message: `ipam.type is "${ipam.type}": handing addresses over to another IPAM plugin is not in this release`,
  });
}

async function allocateOwn(options: AllocateOptions, ipam: OwnIpam): Promise<Allocation> {
  const { context, staging, attachment, undo } = options;
  const { network, containerId, ifname, pod, createdAtMs } = attachment;
  const owner = { network, containerId, ifname, pod, createdAtMs };
  const { cursors, signal } = context;
  const addresses: AllocatedAddress[] = [];
  for (const [setIndex, set] of ipam.rangeSets.entries()) {
    signal.throwIfAborted();
    let tried: string | undefined;
    undo.register(async () => {
      if (tried !== undefined) await releaseLease(staging.files, staging.paths.lease(tried), attachment);
    });
    const trying = (address: string) => {
      tried = address;
    };
    const address = await claimLease({ staging, cursors, set, setIndex, owner, trying });
    addresses.push(describeOwn(ipam, address));
  }
  const subnets = ipam.rangeSets.flat().map(({ subnet }) => subnet);
  return { addresses, routes: ipam.routes, dns: undefined, subnets };
}

function describeOwn({ rangeSets }: OwnIpam, address: string): AllocatedAddress {
  const parsed = parseAddress(address);
  const range = rangeSets.flat().find(({ subnet }) => parsed && contains(subnet, parsed));
  const family = parsed?.family ?? 4;
  return {
    address,
    family,
    prefixLength: range?.subnet.prefixLength ?? (family === 4 ? 32 : 128),
    gateway: range && formatAddress(range.gateway),
  };
}

/** At the end of ADD: marks the leases as used. Gives the address whose lease was taken away meanwhile, if any. */
export async function confirm(staging: Staging, attachment: Attachment): Promise<string | undefined> {
  if (attachment.ipam) return undefined;
  for (const address of attachment.addresses) {
    if (!(await commitLease(staging.files, staging.paths.lease(address), attachment))) return address;
  }
  return undefined;
}

interface ReleaseOptions {
  readonly deps: CniDeps;
  readonly paths: NetworkPaths;
  readonly key: AttachmentKey;
  /** The record as it was found. */
  readonly found: AttachmentRecord | "unreadable" | undefined;
}

/** Frees what the attachment has leased, as often as it is called; gives the addresses that were freed now. */
export async function release({ deps: { files }, paths, key, found }: ReleaseOptions): Promise<string[]> {
  const freed: string[] = [];
  for (const address of await leasedTo(files, { paths, key, found })) {
    if (await releaseLease(files, paths.lease(address), key)) freed.push(address);
  }
  return freed;
}

async function leasedTo(
  files: CniDeps["files"],
  { paths, key, found }: Omit<ReleaseOptions, "deps">,
): Promise<readonly string[]> {
  // ADD claims the record before any lease, and DEL removes it after all of them.
  if (found === undefined) return [];
  if (found !== "unreadable" && found.state === "committed") return found.addresses;
  return findLeases(files, paths, key);
}

interface VerifyOptions {
  readonly context: Pick<CallContext, "deps">;
  readonly paths: NetworkPaths;
  readonly config: NetworkConfig;
  readonly record: AttachmentRecord;
}

/** For CHECK: what is wrong with the leases of the attachment, as sentences. */
export async function verify({ context: { deps }, paths, record }: VerifyOptions): Promise<string[]> {
  const { addresses, containerId, ifname, network } = record;
  const differences: string[] = [];
  for (const address of addresses) {
    const lease = await readLease(deps.files, paths, { network, address });
    if (lease?.containerId === containerId && lease.ifname === ifname) continue;
    differences.push(lease ? `${address} is leased to ${lease.containerId}` : `${address} is not leased`);
  }
  return differences;
}
