/**
 * The addresses of an attachment, whoever leases them: taken for ADD (all or none, each undo registered first), marked as
 * used at its end, freed for DEL from the record alone, and looked at for CHECK.
 */
import { isKind } from "../../errors.ts";
import type { CallContext } from "../context.ts";
import type { CniDeps } from "../deps.ts";
import type { DelegatedIpam, OwnIpam, PodRoute } from "../protocol/ipam-config.ts";
import type { NetworkConfig } from "../protocol/netconf.ts";
import type { JsonObject } from "../protocol/problems.ts";
import type { Attachment, AttachmentRecord, RecordedIpam } from "../state/attachments.ts";
import type { Staging } from "../state/claim.ts";
import type { AttachmentKey, NetworkPaths } from "../state/paths.ts";
import type { Undo } from "../undo.ts";
import { contains, formatAddress, type IpNetwork, parseAddress } from "./address.ts";
import { runDelegate, wasNotFound } from "./delegate.ts";
import { addForeign, delForeign, recordedIpam } from "./foreign.ts";
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
  readonly config: Pick<NetworkConfig, "ipam">;
  readonly attachment: Attachment;
  readonly undo: Undo;
}

/** Leases what the attachment needs, as pending. Throws kind `exhausted` when no address is free. */
export function allocate(options: AllocateOptions): Promise<Allocation> {
  const { ipam } = options.config;
  return ipam.kind === "own" ? allocateOwn(options, ipam) : allocateForeign(options, ipam);
}

async function allocateForeign(
  { context, attachment, undo }: AllocateOptions,
  { type }: DelegatedIpam,
): Promise<Allocation> {
  const { deps, request, signal, log } = context;
  let ran = true;
  // A failed ADD is followed by the plugin's own DEL as well (SPEC.md, "Delegated plugins").
  undo.register(async () => {
    const ipam = ran ? recordedIpam(request) : undefined;
    if (ipam) await delForeign(deps, { ipam, key: attachment, netns: attachment.netns });
  });
  try {
    return await addForeign(deps, { ...request, type, signal, log });
  } catch (error) {
    ran = !wasNotFound(error);
    throw error;
  }
}

async function allocateOwn(options: AllocateOptions, ipam: OwnIpam): Promise<Allocation> {
  const addresses: AllocatedAddress[] = [];
  for (const setIndex of ipam.rangeSets.keys()) {
    options.context.signal.throwIfAborted();
    addresses.push(describeOwn(ipam, await allocateFrom(options, ipam, setIndex)));
  }
  const subnets = ipam.rangeSets.flat().map(({ subnet }) => subnet);
  return { addresses, routes: ipam.routes, dns: undefined, subnets };
}

async function allocateFrom(
  { context, staging, attachment, undo }: AllocateOptions,
  { rangeSets, options, requested }: OwnIpam,
  setIndex: number,
): Promise<string> {
  const { deps, cursors } = context;
  const { files, paths } = staging;
  const { network, containerId, ifname, pod, createdAtMs } = attachment;
  let tried: string | undefined;
  undo.register(async () => {
    if (tried === undefined) return;
    await releaseLease({ files, clock: deps.clock, paths, address: tried }, attachment);
  });
  const claim = () =>
    claimLease({
      ...{ staging, cursors, setIndex, options },
      set: rangeSets[setIndex] ?? [],
      owner: { network, containerId, ifname, pod, createdAtMs },
      requested: requested.get(setIndex),
      trying: (address) => {
        tried = address;
      },
      crowded: context.crowded,
    });
  try {
    return await claim();
  } catch (error) {
    if (!isKind(error, "exhausted")) throw error;
    // Once: what pods left behind that were never deleted may make room.
    if ((await context.reclaim()) === 0) throw error;
    return claim();
  }
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
  /** Where there is no record that could say it: who leases, by the present configuration. */
  readonly fallback?: RecordedIpam | undefined;
}

/** Frees what the attachment has leased, as often as it is called; gives the addresses that were freed now. */
export async function release(options: ReleaseOptions): Promise<string[]> {
  const { deps, paths, key, found, fallback } = options;
  const { files, clock } = deps;
  const record = found === "unreadable" ? undefined : found;
  const ipam = record?.ipam && alsoAt(record.ipam, fallback?.path);
  const freed: string[] = [];
  for (const address of record?.ipam ? [] : await leasedTo(files, { paths, key, found })) {
    if (await releaseLease({ files, clock, paths, address }, key)) freed.push(address);
  }
  if (record && ipam) await delForeign(deps, { ipam, key, netns: record.netns });
  else if (fallback && !record) await delUnrecorded(deps, fallback, key);
  return record?.ipam ? [...record.addresses] : freed;
}

/** The runtime's directories may have changed since the ADD. */
function alsoAt(ipam: RecordedIpam, path: string | undefined): RecordedIpam {
  return path ? { ...ipam, path: [...new Set(`${ipam.path}:${path}`.split(":"))].join(":") } : ipam;
}

/** What a plugin that is not installed has leased cannot be known, and must not keep a pod of which we know nothing. */
async function delUnrecorded(deps: CniDeps, ipam: RecordedIpam, key: AttachmentKey): Promise<void> {
  try {
    await delForeign(deps, { ipam, key, netns: "" });
  } catch (error) {
    if (!wasNotFound(error)) throw error;
  }
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
  readonly context: Pick<CallContext, "deps" | "request" | "signal" | "log">;
  readonly paths: NetworkPaths;
  readonly record: AttachmentRecord;
}

/** For CHECK: what is wrong with the leases of the attachment, as sentences. */
export async function verify({ context, paths, record }: VerifyOptions): Promise<string[]> {
  const { deps, request, signal, log } = context;
  if (record.ipam) {
    const { type } = record.ipam;
    const checked = runDelegate(deps, { ...request, command: "CHECK", type, signal, log });
    return checked.then(
      () => [],
      (error: unknown) => [error instanceof Error ? error.message : String(error)],
    );
  }
  const { addresses, containerId, ifname, network } = record;
  const differences: string[] = [];
  for (const address of addresses) {
    const lease = await readLease(deps.files, paths, { network, address });
    if (lease?.containerId === containerId && lease.ifname === ifname) continue;
    differences.push(lease ? `${address} is leased to ${lease.containerId}` : `${address} is not leased`);
  }
  return differences;
}
