/**
 * From nodes to the routes that lead to their pods. Pure. A network goes by way of its node's address of the same family; what
 * would cut something off (this node's own pods, the next hop itself) is refused, whoever asks for it.
 */
import {
  contains,
  formatAddress,
  formatNetwork,
  type IpAddress,
  type IpNetwork,
  networkOf,
  overlap,
  parseAddress,
  parseCidr,
} from "../ipam/address.ts";

/** What is known of a node of the cluster. */
export interface PeerNode {
  readonly name: string;
  readonly podCidrs: readonly string[];
  readonly internalIps: readonly string[];
}

/** A network of pods elsewhere and the node that has them. */
export interface PeerRoute {
  readonly destination: IpNetwork;
  readonly nextHop: IpAddress;
  /** A node's name, or what in the configuration asked for it: for messages. */
  readonly from: string;
}

/** What cannot become a route, and why. */
export interface RefusedPeer {
  readonly subject: string;
  readonly why: string;
}

/** What the nodes come to. */
export interface PeerRoutes {
  readonly routes: readonly PeerRoute[];
  readonly refused: readonly RefusedPeer[];
}

/** `10.42.1.0/24=192.168.1.2`, as a flag has it. Throws an Error that says what it should look like. */
export function parseStaticRoute(text: string): PeerRoute {
  const [left = "", right = "", ...rest] = text.split("=");
  const cidr = parseCidr(left);
  const nextHop = parseAddress(right);
  const form = "it must look like 10.42.1.0/24=192.168.1.2: a pod network and the address of its node";
  if (!cidr || !nextHop || rest.length > 0) throw new Error(`"${text}" is no route to a node: ${form}`);
  const destination = networkOf(cidr);
  if (destination.base.value !== cidr.address.value) {
    throw new Error(`"${text}" has host bits set: the network is ${formatNetwork(destination)}`);
  }
  const route = { destination, nextHop, from: text };
  const why = unusable(route);
  if (why) throw new Error(`"${text}" is no route to a node: ${why}`);
  return route;
}

/** As the flag has it. */
export function formatStaticRoute({ destination, nextHop }: PeerRoute): string {
  return `${formatNetwork(destination)}=${formatAddress(nextHop)}`;
}

function unusable({ destination, nextHop }: PeerRoute): string | undefined {
  if (destination.base.family !== nextHop.family) return "network and address are of different families";
  if (destination.prefixLength === 0) return "it would be a default route";
  if (contains(destination, nextHop)) return "the address of the node lies in the network itself";
  return undefined;
}

/** The routes to all nodes but this one. Where two want the same addresses, the first by name has them. */
export function routesToPeers(nodes: Iterable<PeerNode>, ownName: string): PeerRoutes {
  const refused: RefusedPeer[] = [];
  const all = [...nodes].sort((left, right) => (left.name < right.name ? -1 : 1));
  const own = all.filter(({ name }) => name === ownName).flatMap(({ podCidrs }) => networksOf(podCidrs));
  const routes = all
    .filter(({ name }) => name !== ownName)
    .flatMap((node) => {
      const hops = node.internalIps.flatMap((text) => parseAddress(text) ?? []);
      return networksOf(node.podCidrs).flatMap((destination): PeerRoute[] => {
        const subject = `${formatNetwork(destination)} of ${node.name}`;
        const nextHop = hops.find(({ family }) => family === destination.base.family);
        if (!nextHop) {
          refused.push({ subject, why: `the node has no InternalIP of IPv${destination.base.family}` });
          return [];
        }
        const route = { destination, nextHop, from: node.name };
        const inOwn = own.some((network) => overlap(network, destination));
        const why = inOwn ? "it overlaps the pod networks of this node" : unusable(route);
        if (why) refused.push({ subject, why });
        return why ? [] : [route];
      });
    });
  const { kept, dropped } = withoutOverlaps(routes);
  return { routes: kept, refused: [...refused, ...dropped] };
}

function networksOf(cidrs: readonly string[]): IpNetwork[] {
  return cidrs.flatMap((text) => {
    const cidr = parseCidr(text);
    return cidr ? [networkOf(cidr)] : [];
  });
}

/** Routes that overlap lead somewhere by chance: only the first stays. Sorted, so that neighbours tell: n log n for n nodes. */
export function withoutOverlaps(routes: readonly PeerRoute[]): { kept: PeerRoute[]; dropped: RefusedPeer[] } {
  const dropped: RefusedPeer[] = [];
  const rank = new Map(routes.map((route, index) => [route, index]));
  const byAddress = [...routes].sort(compare);
  const kept: PeerRoute[] = [];
  for (const route of byAddress) {
    const before = kept.at(-1);
    if (!before || !overlap(before.destination, route.destination)) {
      kept.push(route);
      continue;
    }
    // The one that was named first stays, whichever is the larger.
    const first = (rank.get(before) ?? 0) < (rank.get(route) ?? 0) ? before : route;
    const loser = first === before ? route : before;
    kept[kept.length - 1] = first;
    dropped.push({
      subject: `${formatNetwork(loser.destination)} of ${loser.from}`,
      why: `it overlaps ${formatNetwork(first.destination)} of ${first.from}`,
    });
  }
  return { kept, dropped };
}

function compare({ destination: left }: PeerRoute, { destination: right }: PeerRoute): number {
  if (left.base.family !== right.base.family) return left.base.family - right.base.family;
  if (left.base.value !== right.base.value) return left.base.value < right.base.value ? -1 : 1;
  return left.prefixLength - right.prefixLength;
}
