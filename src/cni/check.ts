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
import { verify } from "./ipam/allocate.ts";
import type { AttachmentCall } from "./protocol/environment.ts";
import type { NetworkConfig } from "./protocol/netconf.ts";
import { addressesOf } from "./protocol/result.ts";
import { type AttachmentRecord, readAttachment } from "./state/attachments.ts";
import { networkPaths } from "./state/paths.ts";

/** Gives the attachment's addresses. Throws `not-found` if there is no such attachment, `precondition` if it is damaged. */
export async function check(
  context: CallContext,
  call: AttachmentCall,
  config: NetworkConfig,
): Promise<readonly string[]> {
  const { deps } = context;
  const paths = networkPaths(join(config.stateDir, deps.bootId), config.name);
  const record = await readAttachment(deps.files, paths, call);
  if (record === undefined || record === "unreadable") {
    throw failure("not-found", call, [`network ${config.name} knows no ${call.ifname} of this container`]);
  }
  if (!config.prevResult) throw failure("invalid", call, ["CHECK needs the prevResult of its ADD"]);
  const differences = [
    ...checkPrevResult(addressesOf(config.prevResult), record),
    ...(await verify({ context, paths, record })),
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
      ...(await missingRoutes(pod, record, config)),
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
async function missingRoutes(
  pod: RouteConnection,
  { routes }: AttachmentRecord,
  { ipam }: NetworkConfig,
): Promise<string[]> {
  const present = (await pod.routes()).map((route) => `${route.destination}/${route.prefixLength}`);
  // Records of earlier releases do not name the routes.
  const configured = effectiveRoutes(ipam.kind === "own" ? ipam.routes : []);
  const wanted = routes?.map(({ dst }) => dst) ?? configured.map((route) => routeText(route));
  return wanted.filter((dst) => !present.includes(dst)).map((dst) => `the pod lacks the route ${dst}`);
}

const routeText = (route: { readonly destination: string; readonly prefixLength: number }) =>
  `${route.destination}/${route.prefixLength}`;
