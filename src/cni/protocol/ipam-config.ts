/** The `ipam` part of a network configuration, in host-local's form: range sets, routes, and who leases at all. */
import {
  contains,
  formatAddress,
  type IpNetwork,
  networkOf,
  parseAddress,
  parseCidr,
} from "../ipam/address.ts";
import { candidateFor, excluding, leasableCount, type RangeSet } from "../ipam/pool.ts";
import { noHosts, parseRangeSets } from "./ipam-ranges.ts";
import { type PoolOptions, parseExclude, parsePoolOptions, plainPool } from "./pool-options.ts";
import { isObject, type JsonObject, type Problems, refuseUnknownKeys } from "./problems.ts";
import type { RequestedAddress, RuntimeConfig } from "./runtime-config.ts";

/** A route of the pod. Without a gateway it goes through the host, as all of a pod's traffic does. */
export interface PodRoute {
  readonly destination: IpNetwork;
  readonly gateway: string | undefined;
}

/** Our own: one address of each range set for each pod, and its routes; no routes means the default route. */
export interface OwnIpam {
  readonly kind: "own";
  /** What is excluded is cut out of the ranges. */
  readonly rangeSets: readonly RangeSet[];
  readonly routes: readonly PodRoute[];
  readonly options: PoolOptions;
  /** By range set: the address that the runtime or the pod asked for. */
  readonly requested: ReadonlyMap<number, RequestedAddress>;
}

/** Another IPAM plugin leases: it is found by its type in CNI_PATH, and gets the whole configuration. */
export interface DelegatedIpam {
  readonly kind: "delegated";
  readonly type: string;
}

/** `ipam.type` of ours, and what holds without one. */
export const ownIpamType = "trivet";

/** Who leases the addresses of a network. */
export type IpamConfig = OwnIpam | DelegatedIpam;

const routeKeys = ["dst", "gw"] as const;
const ipamKeys = [
  ...["type", "ranges", "subnet", "rangeStart", "rangeEnd", "gateway", "routes"],
  ...["exclude", "reservations", "cooldownSeconds", "sticky", "dns"],
] as const;
/** A plain file name: it is looked for in CNI_PATH. */
const pluginType = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** What a runtime asks for beside the configuration. */
export type IpamWishes = Pick<RuntimeConfig, "ips" | "ipRanges">;

const noWishes: IpamWishes = { ips: [], ipRanges: [] };

/** Reports to `problems` instead of throwing; what it gives is meaningless if it reported any. */
export function parseIpam(value: unknown, problems: Problems, wishes = noWishes): IpamConfig {
  const type = isObject(value) ? (value.type ?? ownIpamType) : ownIpamType;
  if (type === ownIpamType) return parseOwnIpam(value, problems, wishes);
  if (typeof type === "string" && pluginType.test(type)) return { kind: "delegated", type };
  problems.invalid("ipam.type", type, "it must be trivet, or the name of an IPAM plugin in CNI_PATH");
  return { kind: "delegated", type: "" };
}

/** An `ipam` of our own type. */
export function parseOwnIpam(value: unknown, problems: Problems, wishes = noWishes): OwnIpam {
  if (!isObject(value)) {
    problems.invalid("ipam", value, "it must be an object with ranges");
    return { kind: "own", rangeSets: [], routes: [], options: plainPool, requested: new Map() };
  }
  refuseUnknownKeys({ value, path: "ipam", known: ipamKeys, problems });
  const whole = parseRangeSets(withRuntimeRanges(value, wishes), problems);
  const holes = parseExclude(value, problems);
  const rangeSets = whole.map((set) => excluding(set, holes));
  for (const [index, set] of rangeSets.entries()) {
    if (leasableCount(set) > 0n || whole[index]?.length === 0) continue;
    const key = holes.length > 0 ? "exclude" : "ranges";
    problems.invalid(`ipam.${key}`, value[key], "it leaves no address of a range set but gateways");
  }
  return {
    kind: "own",
    rangeSets,
    routes: parseRoutes(value.routes, problems),
    options: parsePoolOptions(value, problems),
    requested: assignRequested(rangeSets, wishes.ips, problems),
  };
}

/** As host-local has it: the runtime's sets come before the configured ones, and a pod has an address of each. */
function withRuntimeRanges(ipam: JsonObject, { ipRanges }: IpamWishes): JsonObject {
  if (ipRanges.length === 0) return ipam;
  return { ...ipam, ranges: [...ipRanges, ...(Array.isArray(ipam.ranges) ? ipam.ranges : [])] };
}

function assignRequested(
  rangeSets: readonly RangeSet[],
  ips: readonly RequestedAddress[],
  problems: Problems,
): Map<number, RequestedAddress> {
  const requested = new Map<number, RequestedAddress>();
  for (const wish of ips) {
    const text = formatAddress(wish.address);
    const index = rangeSets.findIndex((set) => candidateFor(set, wish.address));
    if (index < 0) problems.invalid(wish.key, text, "no range of the network offers this address");
    else if (requested.has(index)) {
      problems.invalid(wish.key, text, "another address of the same range set is asked for too");
    } else requested.set(index, wish);
  }
  return requested;
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
  if (hasGateway && !gateway) problems.invalid(`${path}.gw`, value.gw, "it must be an address");
  else if (gateway && noHosts.some((network) => contains(network, gateway))) {
    problems.invalid(`${path}.gw`, value.gw, "it must be the address of a host");
  } else if (gateway && destination && gateway.family !== destination.address.family) {
    problems.invalid(`${path}.gw`, value.gw, "it must be of the family of dst");
  }
  if (!destination) return [];
  return [{ destination: networkOf(destination), gateway: gateway && formatAddress(gateway) }];
}
