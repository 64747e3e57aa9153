/**
 * Makes the link of a pod, routed or bridged, and configures both ends. Few, large requests: one that makes the pair, one for
 * each side; in between only what must be known or looked at.
 */
import { isKind, TrivetError } from "../../errors.ts";
import type { Link, RouteConnection } from "../../host/netlink.ts";
import type { NetnsHandle } from "../../host/netns.ts";
import type { CniDeps } from "../deps.ts";
import type { AllocatedAddress } from "../ipam/allocate.ts";
import type { LinkMode } from "../protocol/link-mode.ts";
import type { Attachment } from "../state/attachments.ts";
import type { Undo } from "../undo.ts";
import { ensureBridge, refuseForeignGateways } from "./bridge.ts";
import { deleteHostLink } from "./host-link.ts";
import { enableIpv6Inside, prepareHostLink } from "./link-sysctls.ts";
import { findMtu, MIN_MTU_IPV6 } from "./mtu.ts";
import { bridgeMac } from "./names.ts";
import { type EffectiveRoute, planHostSide, planPodSide } from "./plan.ts";

interface AttachOptions {
  readonly deps: Pick<CniDeps, "netlink" | "sysctl" | "bootId">;
  readonly netns: NetnsHandle;
  readonly attachment: Attachment;
  readonly link: LinkMode;
  /** As `effectiveAddresses` gives them. */
  readonly addresses: readonly AllocatedAddress[];
  readonly routes: readonly EffectiveRoute[];
  /** Undefined: find it out. */
  readonly mtu: number | undefined;
  /** 127.0.0.1 of the host is to reach the pod. */
  readonly loopback: boolean;
  readonly undo: Undo;
  /** Looked at between steps, never within one. */
  readonly signal: AbortSignal;
}

/** What was made, for the result. */
export interface AttachedLink {
  readonly mtu: number;
  readonly bridge: Link | undefined;
}

/** Throws kind `conflict`, and leaves all as it was, if a name is taken. */
export async function attachLink(options: AttachOptions): Promise<AttachedLink> {
  const host = options.deps.netlink.connect();
  try {
    const mtu = await chooseMtu(host, options);
    const bridge = await bridgeOf(host, options, mtu);
    const hostLink = await createPair(host, options, { mtu, bridge });
    await configureHost(host, options, { hostLink, bridge });
    await configurePod(options, hostLink);
    return { mtu, bridge };
  } finally {
    host.close();
  }
}

const hasIpv6 = (addresses: readonly AllocatedAddress[]): boolean =>
  addresses.some(({ family }) => family === 6);

async function chooseMtu(host: RouteConnection, { mtu, addresses }: AttachOptions): Promise<number> {
  const chosen =
    mtu ??
    (await findMtu(
      host,
      addresses.map(({ family }) => family),
    ));
  if (chosen >= MIN_MTU_IPV6 || !hasIpv6(addresses)) return chosen;
  throw new TrivetError({
    kind: "invalid",
    op: "link.mtu",
    subject: "mtu",
    message: `mtu is ${chosen}, and the pod gets an IPv6 address, which needs at least ${MIN_MTU_IPV6}`,
  });
}

async function bridgeOf(
  host: RouteConnection,
  { deps, link, addresses, loopback, signal }: AttachOptions,
  mtu: number,
): Promise<Link | undefined> {
  if (link.mode !== "bridge") return undefined;
  const name = link.bridge;
  refuseForeignGateways(addresses);
  signal.throwIfAborted();
  const prepare = () => prepareHostLink(deps, { name, ipv6: hasIpv6(addresses), loopback });
  return ensureBridge(host, { name, mac: bridgeMac(name, deps.bootId), mtu, addresses }, prepare);
}

interface Made {
  readonly mtu: number;
  readonly bridge: Link | undefined;
}

async function createPair(
  host: RouteConnection,
  options: AttachOptions,
  { mtu, bridge }: Made,
): Promise<Link> {
  const { attachment, netns, deps, undo } = options;
  const { hostLink: name, hostMac, podMac, ifname } = attachment;
  options.signal.throwIfAborted();
  let refused = false;
  undo.register(async () => {
    if (!refused) await deleteHostLink(deps.netlink, attachment);
  });
  const peer = { name: ifname, mac: podMac, netns };
  const pair = { op: "veth.add", name, mac: hostMac, mtu, peer, bridgeIndex: bridge?.index } as const;
  try {
    const link = await host.applyThenLink([pair], name);
    if (link?.peerIndex !== undefined) return link;
  } catch (error) {
    if (!isKind(error, "conflict")) throw error;
    refused = true; // nothing was made, and what has the name is not ours to remove
    throw await nameTaken(host, attachment, error);
  }
  throw new TrivetError({
    kind: "precondition",
    op: "link.get",
    subject: name,
    message: `interface ${name} vanished right after it was made: does another program manage it?`,
  });
}

async function nameTaken(
  host: RouteConnection,
  { hostLink, ifname, netns }: Attachment,
  cause: unknown,
): Promise<TrivetError> {
  const onHost = await host.link(hostLink);
  const what = onHost ? `the host has an interface ${hostLink}` : `${netns} has an interface ${ifname}`;
  return new TrivetError({
    kind: "conflict",
    op: "veth.add",
    subject: onHost ? hostLink : ifname,
    message: `${what} already: it is left as it is`,
    cause,
  });
}

async function configureHost(
  host: RouteConnection,
  { deps, attachment, addresses, link, loopback, signal }: AttachOptions,
  { hostLink, bridge }: { readonly hostLink: Link; readonly bridge: Link | undefined },
): Promise<void> {
  signal.throwIfAborted();
  const { name } = hostLink;
  const ofRoutedLink = bridge === undefined;
  const ipv6 = ofRoutedLink && hasIpv6(addresses);
  await prepareHostLink(deps, { name, ipv6, loopback: loopback && ofRoutedLink });
  const podLink = { index: hostLink.peerIndex ?? 0, mac: attachment.podMac };
  const begin = [
    { op: "link.no-address-generation", name, ifSupported: true },
    ...(link.mode === "bridge"
      ? [{ op: "bridge-port.set", name, hairpin: link.hairpin, isolated: link.isolated } as const]
      : []),
    { op: "link.up", name },
  ] as const;
  if (!bridge) {
    await host.apply([...begin, ...planHostSide({ hostLink, podLink, addresses })]);
    return;
  }
  // The host may remember whoever had the address before.
  const learned = addresses.map(
    ({ address }) =>
      ({ op: "neighbour.add", linkIndex: bridge.index, address, mac: podLink.mac, learned: true }) as const,
  );
  await host.apply([...begin, ...learned]);
}

async function configurePod(options: AttachOptions, hostLink: Link): Promise<void> {
  const { deps, netns, attachment, addresses, routes, link, signal } = options;
  signal.throwIfAborted();
  if (hasIpv6(addresses)) await enableIpv6Inside(deps, netns);
  const podLink = { index: hostLink.peerIndex ?? 0, mac: attachment.podMac };
  const pod = deps.netlink.connect(netns);
  try {
    await pod.apply([
      { op: "link.up", name: "lo" },
      { op: "link.up", name: attachment.ifname },
      ...planPodSide({ mode: link.mode, podLink, hostLink, addresses, routes }),
    ]);
  } finally {
    pod.close();
  }
}
