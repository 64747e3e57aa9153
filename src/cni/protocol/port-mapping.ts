/** Host ports as the runtime asks for them through the capability `portMappings` (CONVENTIONS.md of the specification). */
import { formatAddress, parseAddress } from "../ipam/address.ts";
import { anyCase } from "./any-case.ts";
import { isObject, type JsonObject, type Problems } from "./problems.ts";

/** Transport protocols that a host port can have. */
export const portProtocols = ["tcp", "udp", "sctp"] as const;
/** In lower case, whatever the runtime wrote. */
export type PortProtocol = (typeof portProtocols)[number];

/** One port of the host that leads to one of the pod. Ports are 1 to 65535. */
export interface PortMapping {
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: PortProtocol;
  /**
   * In canonical form. Undefined: every address of the host, of both families; `0.0.0.0` or `::`: every one of that
   * family; else that address alone.
   */
  readonly hostIp: string | undefined;
}

const KEY = "runtimeConfig.portMappings";

/**
 * Reads the list. A mapping without a host port (0 or missing) only documents a port of the container and is left out, as with
 * the reference portmap. Two for the same host port must lead to the same container port.
 */
export function parsePortMappings(value: unknown, problems: Problems): PortMapping[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) {
    problems.invalid(KEY, value, "it must be a list of port mappings");
    return [];
  }
  const found = new Map<string, PortMapping>();
  for (const [index, entry] of value.entries()) {
    const mapping = isObject(entry) ? parseMapping(anyCase(entry), `${KEY}[${index}]`, problems) : undefined;
    if (!isObject(entry)) problems.invalid(`${KEY}[${index}]`, entry, "it must be an object");
    if (!mapping) continue;
    const name = [mapping.protocol, mapping.hostIp ?? "", mapping.hostPort].join(" ");
    const other = found.get(name);
    if (other && other.containerPort !== mapping.containerPort) {
      const why = `host port ${mapping.hostPort}/${mapping.protocol} is asked for twice, to different ports`;
      problems.invalid(`${KEY}[${index}]`, entry, why);
    }
    found.set(name, mapping);
  }
  return [...found.values()];
}

function parseMapping(entry: JsonObject, path: string, problems: Problems): PortMapping | undefined {
  const { hostport: hostPort = 0, containerport: containerPort = 0 } = entry;
  if (hostPort === 0) return undefined;
  const protocolText = entry.protocol || "tcp";
  const protocol = portProtocols.find((name) => name === String(protocolText).toLowerCase());
  if (!protocol) {
    problems.invalid(`${path}.protocol`, protocolText, `it must be one of ${portProtocols.join(", ")}`);
  }
  for (const [key, port] of Object.entries({ hostPort, containerPort })) {
    if (!isPort(port)) problems.invalid(`${path}.${key}`, port, "it must be a number from 1 to 65535");
  }
  const hostIpText = entry.hostip || undefined;
  const hostIp = typeof hostIpText === "string" ? parseAddress(hostIpText) : undefined;
  if (hostIpText !== undefined && !hostIp) {
    problems.invalid(`${path}.hostIP`, hostIpText, "it must be an address of the host");
  }
  if (!protocol || !isPort(hostPort) || !isPort(containerPort)) return undefined;
  return { hostPort, containerPort, protocol, hostIp: hostIp && formatAddress(hostIp) };
}

/** Whether a value can be the number of a port. */
export function isPort(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 65_535;
}
