/** The `ipam` part of a network configuration, in host-local's form: range sets and routes. */
import {
  contains,
  formatAddress,
  formatNetwork,
  type IpAddress,
  type IpNetwork,
  lastOf,
  networkOf,
  overlap,
  parseAddress,
  parseCidr,
} from "../ipam/address.ts";
import type { AddressRange, RangeSet } from "../ipam/pool.ts";
import { isObject, type JsonObject, type Problems } from "./problems.ts";

/** A route of the pod. Without a gateway it goes through the host, as all of a pod's traffic does. */
export interface PodRoute {
  readonly destination: IpNetwork;
  readonly gateway: string | undefined;
}

/** One address of each range set for each pod, and its routes; no routes means the default route. */
export interface IpamConfig {
  readonly rangeSets: readonly RangeSet[];
  readonly routes: readonly PodRoute[];
}

const rangeKeys = ["subnet", "rangeStart", "rangeEnd", "gateway"] as const;
const routeKeys = ["dst", "gw"] as const;
/** No host has such an address (RFC 6890): "this network", loopback, multicast. */
const noHosts = networks("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4");
/** Nor can a pod have a link-local one: the gateway of every pod is among them. */
const noPods = [...noHosts, ...networks("169.254.0.0/16")];
const NOT_YET_IPV6 = "IPv6 is not in this release, use an IPv4 network";

function networks(...texts: string[]): IpNetwork[] {
  return texts.flatMap((text) => {
    const cidr = parseCidr(text);
    return cidr ? [networkOf(cidr)] : [];
  });
}

/** Reports to `problems` instead of throwing; what it gives is meaningless if it reported any. */
export function parseIpam(value: unknown, problems: Problems): IpamConfig {
  if (!isObject(value)) {
    problems.invalid("ipam", value, "it must be an object with ranges");
    return { rangeSets: [], routes: [] };
  }
  if (value.type !== undefined && value.type !== "trivet") {
    problems.unsupported(
      "ipam.type",
      value.type,
      "handing addresses over to another IPAM plugin is not in this release, leave it out or write trivet",
    );
    return { rangeSets: [], routes: [] };
  }
  const rangeSets = parseRangeSets(value, problems);
  refuseOverlap(rangeSets, problems);
  return { rangeSets, routes: parseRoutes(value.routes, problems) };
}

function parseRangeSets(ipam: JsonObject, problems: Problems): RangeSet[] {
  const sets: RangeSet[] = [];
  // host-local's older form: one range directly in `ipam`.
  if (ipam.subnet !== undefined) sets.push(parseRange(pick(ipam, rangeKeys), "ipam", problems));
  const { ranges = [] } = ipam;
  if (!Array.isArray(ranges)) {
    problems.invalid("ipam.ranges", ranges, "it must be a list of lists of ranges");
    return sets;
  }
  for (const [setIndex, set] of ranges.entries()) {
    const path = `ipam.ranges[${setIndex}]`;
    if (Array.isArray(set) && set.length > 0) {
      sets.push(set.flatMap((range, index) => parseRange(range, `${path}[${index}]`, problems)));
    } else {
      problems.invalid(path, set, "it must be a list of at least one range");
    }
  }
  if (ipam.subnet === undefined && ranges.length === 0) {
    problems.invalid("ipam.ranges", ipam.ranges, "at least one range with a subnet is needed");
  }
  return sets;
}

function pick(object: JsonObject, keys: readonly string[]): JsonObject {
  return Object.fromEntries(keys.flatMap((key) => (key in object ? [[key, object[key]]] : [])));
}

function parseRange(value: unknown, path: string, problems: Problems): AddressRange[] {
  if (!isObject(value)) {
    problems.invalid(path, value, "it must be an object with a subnet");
    return [];
  }
  refuseUnknownKeys({ value, path, known: rangeKeys, problems });
  const subnet = parseSubnet(value.subnet, `${path}.subnet`, problems);
  if (!subnet) return [];
  const { family } = subnet.base;
  const at = (offset: bigint): IpAddress => ({ family, value: subnet.base.value + offset });
  const last = lastOf(subnet);
  const read = (key: "rangeStart" | "rangeEnd" | "gateway", fallback: IpAddress) =>
    parseMember({ value: value[key], path: `${path}.${key}`, subnet, fallback, problems });
  const range = {
    subnet,
    // Neither the network's own address nor the broadcast address can be a pod's.
    rangeStart: read("rangeStart", at(1n)),
    rangeEnd: read("rangeEnd", { family, value: last.value - 1n }),
    gateway: read("gateway", at(1n)),
  };
  if (range.rangeStart.value > range.rangeEnd.value) {
    const ends = `${formatAddress(range.rangeStart)} to ${formatAddress(range.rangeEnd)}`;
    problems.invalid(path, ends, "rangeStart lies behind rangeEnd");
    return [];
  }
  return [range];
}

function parseSubnet(value: unknown, path: string, problems: Problems): IpNetwork | undefined {
  const cidr = typeof value === "string" ? parseCidr(value) : undefined;
  if (!cidr) {
    problems.invalid(path, value, "it must be a network such as 10.88.0.0/16");
    return undefined;
  }
  if (cidr.address.family === 6) {
    problems.unsupported(path, value, NOT_YET_IPV6);
    return undefined;
  }
  const network = networkOf(cidr);
  if (network.base.value !== cidr.address.value) {
    problems.invalid(path, value, `it has host bits set, the network is ${formatNetwork(network)}`);
    return undefined;
  }
  const special = noPods.find((one) => overlap(one, network));
  if (special) {
    problems.invalid(path, value, `it overlaps ${formatNetwork(special)}, whose addresses no pod can have`);
    return undefined;
  }
  if (cidr.prefixLength > 30) {
    problems.invalid(path, value, "it is too small: a /30 is the smallest network with room for a pod");
    return undefined;
  }
  return network;
}

interface Member {
  readonly value: unknown;
  readonly path: string;
  readonly subnet: IpNetwork;
  readonly fallback: IpAddress;
  readonly problems: Problems;
}

function parseMember({ value, path, subnet, fallback, problems }: Member): IpAddress {
  if (value === undefined) return fallback;
  const address = typeof value === "string" ? parseAddress(value) : undefined;
  const edges = [subnet.base.value, lastOf(subnet).value];
  if (!address) problems.invalid(path, value, "it must be an address");
  else if (!contains(subnet, address)) {
    problems.invalid(path, value, `it lies outside ${formatNetwork(subnet)}`);
  } else if (edges.includes(address.value)) {
    problems.invalid(path, value, `it is the network or broadcast address of ${formatNetwork(subnet)}`);
  } else return address;
  return fallback;
}

/** Two pods could otherwise get one address, since leases of a set are looked at one by one. */
function refuseOverlap(sets: readonly RangeSet[], problems: Problems): void {
  const all = sets.flat();
  for (const [index, left] of all.entries()) {
    for (const right of all.slice(index + 1)) {
      const apart =
        !overlap(left.subnet, right.subnet) ||
        left.rangeEnd.value < right.rangeStart.value ||
        right.rangeEnd.value < left.rangeStart.value;
      if (apart) continue;
      const both = `${formatNetwork(left.subnet)} and ${formatNetwork(right.subnet)}`;
      problems.invalid("ipam.ranges", both, "these ranges overlap");
    }
  }
}

function parseRoutes(value: unknown, problems: Problems): PodRoute[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) {
    problems.invalid("ipam.routes", value, "it must be a list of routes");
    return [];
  }
  return value.flatMap((route, index) => parseRoute(route, `ipam.routes[${index}]`, problems));
}

function parseRoute(value: unknown, path: string, problems: Problems): PodRoute[] {
  if (!isObject(value)) {
    problems.invalid(path, value, "it must be an object with a dst");
    return [];
  }
  refuseUnknownKeys({ value, path, known: routeKeys, problems });
  const destination = typeof value.dst === "string" ? parseCidr(value.dst) : undefined;
  const gateway = typeof value.gw === "string" ? parseAddress(value.gw) : undefined;
  const hasGateway = value.gw !== undefined && value.gw !== null;
  if (!destination) problems.invalid(`${path}.dst`, value.dst, "it must be a network such as 0.0.0.0/0");
  else if (destination.address.family === 6) {
    problems.unsupported(`${path}.dst`, value.dst, NOT_YET_IPV6);
  }
  if (hasGateway && !gateway) problems.invalid(`${path}.gw`, value.gw, "it must be an address");
  else if (gateway && noHosts.some((network) => contains(network, gateway))) {
    problems.invalid(`${path}.gw`, value.gw, "it must be the address of a host");
  } else if (gateway?.family === 6) problems.unsupported(`${path}.gw`, value.gw, NOT_YET_IPV6);
  if (!destination) return [];
  return [{ destination: networkOf(destination), gateway: gateway && formatAddress(gateway) }];
}

interface Keys {
  readonly value: JsonObject;
  readonly path: string;
  readonly known: readonly string[];
  readonly problems: Problems;
}

/** A misspelt `rangeStart` would otherwise lease addresses that belong to others. */
function refuseUnknownKeys({ value, path, known, problems }: Keys): void {
  for (const key of Object.keys(value)) {
    if (known.includes(key)) continue;
    problems.unsupported(`${path}.${key}`, value[key], `trivet knows ${known.join(", ")} here`);
  }
}
