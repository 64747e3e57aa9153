/** CHECK of a pod's link: both ends, the bridge between, addresses, routes and neighbours. Gives what is wrong, as sentences. */
import type { BridgePort, Link, RouteConnection } from "../../host/netlink.ts";
import type { NetnsHandle } from "../../host/netns.ts";
import type { CniDeps } from "../deps.ts";
import type { LinkMode } from "../protocol/link-mode.ts";
import type { AttachmentRecord } from "../state/attachments.ts";
import { podGateways } from "./names.ts";

interface LinkCheck {
  readonly record: AttachmentRecord;
  readonly link: LinkMode;
  /** MACs that the pod's end may have: later plugins of the chain may have changed it, and say so in their result. */
  readonly podMacs: readonly string[];
}

const familyOf = (address: string): 4 | 6 => (address.includes(":") ? 6 : 4);

/** Undefined namespace: it is gone. */
export async function checkLinks(
  { netlink }: Pick<CniDeps, "netlink">,
  netns: NetnsHandle | undefined,
  check: LinkCheck,
): Promise<string[]> {
  const host = netlink.connect();
  const pod = netns && netlink.connect(netns);
  try {
    const hostLink = await host.link(check.record.hostLink);
    const podLink = await pod?.link(check.record.ifname);
    return [
      ...(hostLink
        ? await checkHost(host, hostLink, { ...check, podLink })
        : noLink("the host", check.record.hostLink)),
      ...(pod
        ? await checkPod(pod, podLink, check)
        : [`there is no network namespace at ${check.record.netns}`]),
      ...(hostLink && podLink ? checkPair(hostLink, podLink) : []),
    ];
  } finally {
    host.close();
    pod?.close();
  }
}

const noLink = (who: string, name: string): string[] => [`${who} has no interface ${name}`];

function checkPair(hostLink: Link, podLink: Link): string[] {
  const differences: string[] = [];
  if (hostLink.peerIndex !== podLink.index) {
    differences.push(`${podLink.name} of the pod is not the other end of ${hostLink.name}`);
  }
  if (podLink.mtu > hostLink.mtu) {
    differences.push(
      `${podLink.name} has the MTU ${podLink.mtu}, and its end on the host only ${hostLink.mtu}`,
    );
  }
  return differences;
}

function checkEnd({ name, up, mac }: Link, macs: readonly string[]): string[] {
  const differences = up ? [] : [`${name} is down`];
  if (!macs.includes(mac)) differences.push(`${name} has the MAC ${mac} instead of ${macs[0]}`);
  return differences;
}

async function checkHost(
  host: RouteConnection,
  hostLink: Link,
  { record, link, podLink }: LinkCheck & { readonly podLink: Link | undefined },
): Promise<string[]> {
  const ends = checkEnd(hostLink, [record.hostMac]);
  if (link.mode === "bridge") return [...ends, ...(await checkBridge(host, hostLink, link))];
  const neighbours = await host.neighbours(hostLink.index);
  const differences: string[] = [];
  for (const address of record.addresses) {
    const route = await host.routeTo(address);
    if (route?.linkIndex !== hostLink.index) {
      differences.push(`the host does not route ${address} to ${hostLink.name}`);
    }
    const known = neighbours.find((neighbour) => neighbour.address === address);
    if (known?.permanent && (!podLink || known.mac === podLink.mac)) continue;
    differences.push(`the host has no permanent neighbour entry for ${address} with the pod's MAC`);
  }
  return [...ends, ...differences];
}

async function checkBridge(
  host: RouteConnection,
  hostLink: Link,
  wanted: BridgePort & { readonly bridge: string },
): Promise<string[]> {
  const bridge = await host.link(wanted.bridge);
  if (bridge?.kind !== "bridge") return [`the host has no bridge ${wanted.bridge}`];
  if (hostLink.masterIndex !== bridge.index) return [`${hostLink.name} is no port of ${wanted.bridge}`];
  const differences = bridge.up ? [] : [`${bridge.name} is down`];
  for (const flag of ["hairpin", "isolated"] as const) {
    if (hostLink.port?.[flag] === wanted[flag]) continue;
    differences.push(
      `the port ${hostLink.name} is ${wanted[flag] ? "not " : ""}${flag === "hairpin" ? "in hairpin mode" : flag}`,
    );
  }
  return differences;
}

async function checkPod(
  pod: RouteConnection,
  podLink: Link | undefined,
  { record, link, podMacs }: LinkCheck,
): Promise<string[]> {
  if (!podLink) return noLink("the pod", record.ifname);
  const present = await pod.addresses(podLink.index);
  const missing = record.addresses.filter((wanted) => !present.some(({ address }) => address === wanted));
  return [
    ...checkEnd(podLink, podMacs),
    ...missing.map((address) => `the pod lacks the address ${address}`),
    ...(await missingRoutes(pod, record)),
    ...(link.mode === "routed" ? await missingGateways(pod, podLink, record) : []),
  ];
}

/** Through whichever interface: the first one of a pod that has a route keeps it. */
async function missingRoutes(pod: RouteConnection, { routes = [] }: AttachmentRecord): Promise<string[]> {
  const present = new Set(
    (await pod.routes()).map(({ destination, prefixLength }) => `${destination}/${prefixLength}`),
  );
  return routes.filter(({ dst }) => !present.has(dst)).map(({ dst }) => `the pod lacks the route ${dst}`);
}

async function missingGateways(
  pod: RouteConnection,
  podLink: Link,
  { addresses, hostMac }: AttachmentRecord,
): Promise<string[]> {
  const neighbours = await pod.neighbours(podLink.index);
  const gateways = new Set(addresses.map((address) => podGateways[familyOf(address)]));
  return [...gateways]
    .filter(
      (gateway) =>
        !neighbours.some(
          ({ address, mac, permanent }) => address === gateway && mac === hostMac && permanent,
        ),
    )
    .map(
      (gateway) => `the pod has no permanent neighbour entry for its gateway ${gateway} with the host's MAC`,
    );
}
