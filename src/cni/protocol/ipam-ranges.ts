/** The range sets of an `ipam` configuration in host-local's form, in full: what is left out has its default. */
import {
  bitsOf,
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
import { isObject, type JsonObject, type Problems, refuseUnknownKeys } from "./problems.ts";

const rangeKeys = ["subnet", "rangeStart", "rangeEnd", "gateway"] as const;
/** No host has such an address (RFC 6890): "this network", loopback, multicast. */
export const noHosts: readonly IpNetwork[] = networks(
  ...["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "::/127", "::ffff:0:0/96", "ff00::/8"],
);
/** Nor can a pod have a link-local one: the gateways of every pod are among them. */
const noPods = [...noHosts, ...networks("169.254.0.0/16", "fe80::/10")];

function networks(...texts: string[]): IpNetwork[] {
  return texts.flatMap((text) => {
    const cidr = parseCidr(text);
    return cidr ? [networkOf(cidr)] : [];
  });
}

/** `ipam.ranges`, and host-local's older form with one range directly in `ipam`. Two ranges never share an address. */
export function parseRangeSets(ipam: JsonObject, problems: Problems): RangeSet[] {
  const sets: RangeSet[] = [];
  // host-local's older form: one range directly in `ipam`.
  if (ipam.subnet !== undefined) sets.push(parseRange(pick(ipam, rangeKeys), "ipam", problems));
  else {
    for (const key of rangeKeys) {
      if (ipam[key] === undefined) continue;
      problems.invalid(
        `ipam.${key}`,
        ipam[key],
        "it bounds the subnet beside it: put it into a range of ranges",
      );
    }
  }
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
  refuseMixedFamilies(sets, problems);
  refuseOverlap(sets, problems);
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
    problems.invalid(path, value, "it must be a network such as 10.88.0.0/16 or fd00:88::/64");
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
  const smallest = bitsOf(network.base.family) - 2;
  if (cidr.prefixLength > smallest) {
    const why = `it is too small: a /${smallest} is the smallest network with room for a pod`;
    problems.invalid(path, value, why);
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

/** A pod gets one address of each set: which family that is must not depend on which range has room. */
function refuseMixedFamilies(sets: readonly RangeSet[], problems: Problems): void {
  for (const set of sets) {
    const families = new Set(set.map(({ subnet }) => subnet.base.family));
    if (families.size < 2) continue;
    const subnets = set.map(({ subnet }) => formatNetwork(subnet)).join(" and ");
    problems.invalid("ipam.ranges", subnets, "a set holds one family: give IPv6 a set of its own");
  }
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
