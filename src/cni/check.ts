/**
 * CHECK (SPEC.md): compares the attachment with what ADD made of it: record, leases, both ends of the link, address, routes
 * on both sides. What later plugins of the chain added is not ours to judge. Names every difference in one message.
 */
import { join } from "node:path";
import { TrivetError } from "../errors.ts";
import type { RouteConnection } from "../host/netlink.ts";
import type { NetnsHandle } from "../host/netns.ts";
import type { CallContext } from "./context.ts";
import { effectiveRoutes } from "./datapath/plan.ts";
import type { CniDeps } from "./deps.ts";
import { readLease } from "./ipam/leases.ts";
import type { AttachmentCall } from "./protocol/environment.ts";
import type { NetworkConfig } from "./protocol/netconf.ts";
import { addressesOf } from "./protocol/result.ts";
import { type AttachmentRecord, readAttachment } from "./state/attachments.ts";
import { type NetworkPaths, networkPaths } from "./state/paths.ts";

/** Gives the attachment's addresses. Throws `not-found` if there is no such attachment, `precondition` if it is damaged. */
export async function check(
  { deps }: Pick<CallContext, "deps">,
  call: AttachmentCall,
  config: NetworkConfig,
): Promise<readonly string[]> {
  const paths = networkPaths(join(config.stateDir, deps.bootId), config.name);
  const record = await readAttachment(deps.files, paths, call);
  if (record === undefined || record === "unreadable") {
    throw failure("not-found", call, [`network ${config.name} knows no ${call.ifname} of this container`]);
  }
  if (!config.prevResult) throw failure("invalid", call, ["CHECK needs the prevResult of its ADD"]);
  const differences = [
    ...checkPrevResult(addressesOf(config.prevResult), record),
    ...(await checkLeases(deps, paths, record)),
    ...(await checkHost(deps, record)),
    ...(await checkPod({ deps, call, config, record })),
  ];
  if (differences.length > 0) throw failure("precondition", call, differences);
  return record.addresses;
}

function failure(
  kind: "not-found" | "invalid" | "precondition",
  { containerId }: AttachmentCall,
  found: readonly string[],
): TrivetError {
  const message = `check of container ${containerId}: ${found.join("; ")}`;
  return new TrivetError({ kind, op: "attachment.check", subject: containerId, message });
}

function checkPrevResult(announced: readonly string[], { state, addresses }: AttachmentRecord): string[] {
  if (state === "pending") return ["its ADD never finished"];
  const missing = addresses.filter((address) => !announced.includes(address));
  return missing.map((address) => `prevResult lacks its address ${address}`);
}

async function checkLeases(
  { files }: CniDeps,
  paths: NetworkPaths,
  { addresses, containerId, ifname, network }: AttachmentRecord,
): Promise<string[]> {
  const differences: string[] = [];
  for (const address of addresses) {
    const lease = await readLease(files, paths, { network, address });
    if (lease?.containerId === containerId && lease.ifname === ifname) continue;
    differences.push(lease ? `${address} is leased to ${lease.containerId}` : `${address} is not leased`);
  }
  return differences;
}

async function checkHost({ netlink }: CniDeps, record: AttachmentRecord): Promise<string[]> {
  const host = netlink.connect();
  try {
    const link = await host.link(record.hostLink);
    if (!link) return [`the host has no interface ${record.hostLink}`];
    const differences = checkLink({ ...link, what: record.hostLink, wantedMac: record.hostMac });
    for (const address of record.addresses) {
      const route = await host.routeTo(address);
      if (route?.linkIndex !== link.index) {
        differences.push(`the host does not route ${address} to ${record.hostLink}`);
      }
    }
    return differences;
  } finally {
    host.close();
  }
}

interface LinkFacts {
  readonly what: string;
  readonly up: boolean;
  readonly mac: string;
  readonly wantedMac: string;
}

function checkLink({ what, up, mac, wantedMac }: LinkFacts): string[] {
  const differences = up ? [] : [`${what} is down`];
  if (mac !== wantedMac) differences.push(`${what} has the MAC ${mac} instead of ${wantedMac}`);
  return differences;
}

interface PodCheck {
  readonly deps: CniDeps;
  readonly call: AttachmentCall;
  readonly config: NetworkConfig;
  readonly record: AttachmentRecord;
}

async function checkPod({ deps, call, config, record }: PodCheck): Promise<string[]> {
  const handle = deps.netns.open(call.netns);
  if (!handle) return [`there is no network namespace at ${call.netns}`];
  try {
    return await checkInside(deps, handle, { config, record });
  } finally {
    handle.close();
  }
}

async function checkInside(
  { netlink }: CniDeps,
  handle: NetnsHandle,
  { config, record }: Pick<PodCheck, "config" | "record">,
): Promise<string[]> {
  const pod = netlink.connect(handle);
  try {
    const link = await pod.link(record.ifname);
    if (!link) return [`the pod has no interface ${record.ifname}`];
    return [
      ...checkLink({ ...link, what: record.ifname, wantedMac: record.podMac }),
      ...(await missingAddresses(pod, link.index, record.addresses)),
      ...(await missingRoutes(pod, config)),
    ];
  } finally {
    pod.close();
  }
}

async function missingAddresses(
  pod: RouteConnection,
  linkIndex: number,
  wanted: readonly string[],
): Promise<string[]> {
  const present = await pod.addresses(linkIndex);
  const missing = wanted.filter((address) => !present.some((other) => other.address === address));
  return missing.map((address) => `the pod lacks the address ${address}`);
}

/** Through whichever interface: the first one of a pod that has a route keeps it. */
async function missingRoutes(pod: RouteConnection, config: NetworkConfig): Promise<string[]> {
  const present = await pod.routes();
  const missing = effectiveRoutes(config.routes).filter(
    (route) =>
      !present.some(
        (other) => other.destination === route.destination && other.prefixLength === route.prefixLength,
      ),
  );
  return missing.map(
    ({ destination, prefixLength }) => `the pod lacks the route ${destination}/${prefixLength}`,
  );
}
