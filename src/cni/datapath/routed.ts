/** Makes and removes the link of a routed pod. Everything of it hangs on the pair: deleting one end undoes it all. */
import { isKind, TrivetError } from "../../errors.ts";
import type { Link, Netlink, RouteChange, RouteConnection } from "../../host/netlink.ts";
import type { NetnsHandle } from "../../host/netns.ts";
import type { Attachment } from "../state/attachments.ts";
import type { Undo } from "../undo.ts";
import { findMtu } from "./mtu.ts";
import { type EffectiveRoute, planHostSide, planPodRoutes, planPodSide } from "./plan.ts";

interface RoutedOptions {
  readonly netlink: Netlink;
  readonly netns: NetnsHandle;
  readonly attachment: Attachment;
  readonly routes: readonly EffectiveRoute[];
  /** Undefined: find it out. */
  readonly mtu: number | undefined;
  readonly undo: Undo;
  /** Looked at between steps, never within one. */
  readonly signal: AbortSignal;
}

/** Makes the pair and configures both ends. Throws kind `conflict`, and leaves all as it was, if a name is taken. */
export async function attachRouted(options: RoutedOptions): Promise<void> {
  const host = options.netlink.connect();
  try {
    await createPair(host, options);
    await configure(host, options);
  } finally {
    host.close();
  }
}

async function createPair(host: RouteConnection, options: RoutedOptions): Promise<void> {
  const { attachment, netns, netlink, undo } = options;
  const { hostLink, hostMac, podMac, ifname } = attachment;
  const mtu = options.mtu ?? (await findMtu(host));
  options.signal.throwIfAborted();
  let refused = false;
  undo.register(async () => {
    if (!refused) await deleteHostLink(netlink, attachment);
  });
  try {
    const peer = { name: ifname, mac: podMac, netns };
    await host.apply([{ op: "veth.add", name: hostLink, mac: hostMac, mtu, peer }]);
  } catch (error) {
    if (!isKind(error, "conflict")) throw error;
    refused = true; // nothing was made, and what has the name is not ours to remove
    throw await nameTaken(host, attachment, error);
  }
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

async function configure(host: RouteConnection, options: RoutedOptions): Promise<void> {
  const { attachment, signal, netlink, netns, routes } = options;
  const { addresses, hostLink: name, ifname } = attachment;
  signal.throwIfAborted();
  await withoutAddressGeneration(host, name);
  await host.apply([{ op: "link.up", name }]);
  const hostLink = await requireLink(host, name);
  signal.throwIfAborted();
  const pod = netlink.connect(netns);
  try {
    await pod.apply([
      { op: "link.up", name: "lo" },
      { op: "link.up", name: ifname },
    ]);
    const podLink = await requireLink(pod, ifname);
    await pod.apply(planPodSide({ podLink, hostLink, addresses, routes }));
    for (const change of planPodRoutes({ podLink, routes })) await addUnlessThere(pod, change);
    signal.throwIfAborted();
    await host.apply(planHostSide({ podLink, hostLink, addresses }));
  } finally {
    pod.close();
  }
}

/** Where the kernel has no IPv6, or the MTU leaves no room for it, nothing would be generated either. */
async function withoutAddressGeneration(host: RouteConnection, name: string): Promise<void> {
  try {
    await host.apply([{ op: "link.no-address-generation", name }]);
  } catch (error) {
    if (!isKind(error, "unsupported")) throw error;
  }
}

/** The first interface of a pod wins, as with the reference plugins: a second default route has no use. */
async function addUnlessThere(pod: RouteConnection, change: RouteChange): Promise<void> {
  try {
    await pod.apply([change]);
  } catch (error) {
    if (!isKind(error, "conflict")) throw error;
  }
}

async function requireLink(connection: RouteConnection, name: string): Promise<Link> {
  const link = await connection.link(name);
  if (link) return link;
  throw new TrivetError({
    kind: "precondition",
    op: "link.get",
    subject: name,
    message: `interface ${name} vanished right after it was made: does another program manage it?`,
  });
}

/**
 * Removes the host end, and with it the pod's end, the addresses, the routes and the neighbour entries. A link that has our
 * name but not our MAC is not ours and stays. Nothing happens if there is none.
 */
export async function deleteHostLink(
  netlink: Netlink,
  { hostLink, hostMac }: Pick<Attachment, "hostLink" | "hostMac">,
): Promise<void> {
  const host = netlink.connect();
  try {
    const link = await host.link(hostLink);
    if (link?.kind !== "veth" || link.mac !== hostMac) return;
    await host.apply([{ op: "link.delete", name: hostLink }]);
  } catch (error) {
    // The kernel removes the pair by itself when the pod's namespace ends, possibly just now.
    if (!isKind(error, "not-found")) throw error;
  } finally {
    host.close();
  }
}
