/**
 * Host ports of a pod as elements of the rule set's maps, and whose a port is. Pure. A port without a host address is one of
 * every address of the host, in each family that the pod has.
 */
import { TrivetError } from "../../errors.ts";
import type { HostPort, HostPortKey } from "../../host/nft.ts";
import { contains, networkOf, parseAddress, parseCidr } from "../ipam/address.ts";
import type { PortMapping } from "../protocol/port-mapping.ts";
import type { AttachmentRecord } from "../state/attachments.ts";

const everyAddress: Readonly<Record<string, 4 | 6>> = { "0.0.0.0": 4, "::": 6 };
const familyOf = (address: string): 4 | 6 => (address.includes(":") ? 6 : 4);
const loopback4 = parseCidr("127.0.0.0/8");

/** The elements that these mappings make with these addresses of the pod: the first one of each family. */
export function planHostPorts(mappings: readonly PortMapping[], addresses: readonly string[]): HostPort[] {
  const ports = mappings.flatMap((mapping) =>
    ([4, 6] as const).flatMap((family): HostPort[] => {
      const podAddress = addresses.find((address) => familyOf(address) === family);
      const { hostIp } = mapping;
      if (podAddress === undefined || (hostIp !== undefined && familyOf(hostIp) !== family)) return [];
      const { protocol, hostPort, containerPort: podPort } = mapping;
      const single = hostIp !== undefined && everyAddress[hostIp] === undefined ? hostIp : undefined;
      return [{ family, protocol, hostPort, hostIp: single, podAddress, podPort }];
    }),
  );
  // A mapping that is given twice is one.
  return [...new Map(ports.map((port) => [JSON.stringify(port), port])).values()];
}

/** Throws kind `invalid` for a mapping that no address of the pod could ever serve, and for two that meet. */
export function checkHostPorts(mappings: readonly PortMapping[], ports: readonly HostPort[]): void {
  for (const { hostIp, protocol, hostPort } of mappings) {
    if (hostIp === undefined) continue;
    const what = `the ${protocol} port ${hostPort} of ${hostIp}`;
    if (hostIp === "::1") {
      throw refused(`${what} cannot lead to a pod: the kernel keeps ::1 to itself; use another host address`);
    }
    if (!ports.some(({ family }) => family === familyOf(hostIp))) {
      throw refused(`${what} cannot lead to this pod, which has no address of IPv${familyOf(hostIp)}`);
    }
  }
  for (const [index, left] of ports.entries()) {
    const other = ports.slice(index + 1).find((right) => meet(left, right));
    if (other) throw refused(`the pod wants ${describePort(left)} and ${describePort(other)}, which are one`);
  }
}

function refused(message: string): TrivetError {
  return new TrivetError({ kind: "invalid", op: "port.plan", subject: "portMappings", message });
}

/** Whether a packet could be for both. */
export function meet(left: HostPortKey, right: HostPortKey): boolean {
  const apart = left.hostIp !== undefined && right.hostIp !== undefined && left.hostIp !== right.hostIp;
  const sameKind = left.family === right.family && left.protocol === right.protocol;
  return sameKind && left.hostPort === right.hostPort && !apart;
}

/** Whether the host is to reach one of these by an address such as 127.0.0.1. */
export function needsLoopback(ports: readonly HostPort[]): boolean {
  return ports.some(({ family, hostIp }) => {
    const address = hostIp === undefined ? undefined : parseAddress(hostIp);
    const isLoopback = address && loopback4 && contains(networkOf(loopback4), address);
    return family === 4 && (hostIp === undefined || isLoopback === true);
  });
}

/** The ports of a record. One that is pending may not name its addresses yet: they are given apart. */
export function portsOfRecord(
  { ports = [], addresses }: Pick<AttachmentRecord, "ports" | "addresses">,
  found: readonly string[] = addresses,
): HostPort[] {
  return planHostPorts(ports, found);
}

/** The record that claims a port, whether it has its addresses already or not. */
export function holderOf(
  key: HostPortKey,
  records: readonly AttachmentRecord[],
): AttachmentRecord | undefined {
  const anyPod = ["0.0.0.0", "::"];
  return records.find(({ ports = [] }) => planHostPorts(ports, anyPod).some((port) => meet(key, port)));
}

/** As in `tcp port 8080 of 192.0.2.1`. */
export function describePort({ protocol, hostPort, hostIp }: HostPortKey): string {
  return `${protocol} port ${hostPort} of ${hostIp ?? "every address"}`;
}
