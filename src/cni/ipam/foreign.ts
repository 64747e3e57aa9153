/**
 * Addresses from another IPAM plugin, in our terms: what its ADD gives is checked like any input, and what its DEL will need is
 * put into the record before its ADD runs.
 */
import { TrivetError } from "../../errors.ts";
import type { Log } from "../../observe/log.ts";
import type { RawCall } from "../context.ts";
import type { CniDeps } from "../deps.ts";
import type { PodRoute } from "../protocol/ipam-config.ts";
import { isObject, type JsonObject } from "../protocol/problems.ts";
import { listIn } from "../protocol/result.ts";
import { toVersion } from "../protocol/result-version.ts";
import type { RecordedIpam } from "../state/attachments.ts";
import type { AttachmentKey } from "../state/paths.ts";
import { formatAddress, type IpAddress, networkOf, parseAddress, parseCidr } from "./address.ts";
import type { AllocatedAddress, Allocation } from "./allocate.ts";
import { runDelegate } from "./delegate.ts";

/** For the record: undefined where the configuration leaves leasing to us. `prevResult` can be long, and DEL needs none. */
export function recordedIpam({ env, config }: RawCall): RecordedIpam | undefined {
  const type = isObject(config.ipam) ? config.ipam.type : undefined;
  if (typeof type !== "string" || type === "trivet" || !/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(type))
    return undefined;
  const { prevResult: _, ...conf } = config;
  return { type, conf, path: env.CNI_PATH ?? "", args: env.CNI_ARGS ?? "" };
}

type ForeignCall = Pick<RawCall, "env" | "config"> & {
  readonly type: string;
  readonly signal?: AbortSignal;
  readonly log?: Log;
};

/** Its ADD. Throws kind `precondition` for a result that no pod can be given. */
export async function addForeign(deps: CniDeps, call: ForeignCall): Promise<Allocation> {
  const result = await runDelegate(deps, { ...call, command: "ADD" });
  const modern = toVersion(result, "1.1.0");
  const subject = `the result of ${call.type}`;
  const ips = listIn(modern, "ips", subject).map((ip) => parseIp(ip, call.type));
  if (ips.length === 0) throw unusable(call.type, "it gave no address");
  const routes = listIn(modern, "routes", subject).map((route) => parseRoute(route, call.type));
  return {
    addresses: ips,
    routes,
    dns: isObject(modern.dns) && Object.keys(modern.dns).length > 0 ? modern.dns : undefined,
    subnets: ips.flatMap(({ address, prefixLength }) => {
      const parsed = parseAddress(address);
      return parsed ? [networkOf({ address: parsed, prefixLength })] : [];
    }),
  };
}

function parseIp(value: unknown, type: string): AllocatedAddress {
  const { address, gateway } = isObject(value) ? value : ({} as JsonObject);
  const cidr = typeof address === "string" ? parseCidr(address) : undefined;
  if (!cidr) throw unusable(type, `it gave ${JSON.stringify(address)} for an address`);
  const way = parseGateway(gateway, type);
  return {
    address: formatAddress(cidr.address),
    family: cidr.address.family,
    prefixLength: cidr.prefixLength,
    gateway: way && formatAddress(way),
  };
}

/** Go writes what is not set as an empty text. */
function parseGateway(value: unknown, type: string): IpAddress | undefined {
  if (value === undefined || value === null || value === "") return undefined;
  const gateway = typeof value === "string" ? parseAddress(value) : undefined;
  if (!gateway) throw unusable(type, `it gave ${JSON.stringify(value)} for a gateway`);
  return gateway;
}

function parseRoute(value: unknown, type: string): PodRoute {
  const { dst, gw } = isObject(value) ? value : ({} as JsonObject);
  const cidr = typeof dst === "string" ? parseCidr(dst) : undefined;
  if (!cidr) throw unusable(type, `it gave a route to ${JSON.stringify(dst)}`);
  const gateway = parseGateway(gw, type);
  return { destination: networkOf(cidr), gateway: gateway && formatAddress(gateway) };
}

function unusable(type: string, why: string): TrivetError {
  return new TrivetError({
    kind: "precondition",
    op: "ipam.delegate",
    subject: type,
    message: `IPAM plugin ${type} answered ADD with a result that cannot be used: ${why}`,
  });
}

interface ForeignRelease {
  readonly ipam: RecordedIpam;
  readonly key: AttachmentKey;
  /** Empty where it is gone. */
  readonly netns: string;
}

/** Its DEL, from the record alone. */
export async function delForeign(deps: CniDeps, { ipam, key, netns }: ForeignRelease): Promise<void> {
  const env = {
    CNI_CONTAINERID: key.containerId,
    CNI_IFNAME: key.ifname,
    CNI_NETNS: netns,
    CNI_PATH: ipam.path,
    CNI_ARGS: ipam.args,
  };
  await runDelegate(deps, { command: "DEL", type: ipam.type, env, config: ipam.conf });
}
