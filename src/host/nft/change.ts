/** A change of Trivet's table as the requests of one transaction. Pure. */
import type { NetlinkMessage } from "../netlink/codec.ts";
import type { RuleChange } from "../nft.ts";
import { allFamilies, bridgeSet, families, installPart } from "./layout.ts";
import { type ElementRequest, element } from "./messages.ts";
import { bridgeElement, type HostPort, hairpinElement, mapOf, portElement } from "./ports.ts";
import { networkElements, type SetElement, writeElements } from "./sets.ts";

/** An attribute holds 64 KB. */
const ELEMENTS_AT_ONCE = 400;

interface Target {
  readonly table: string;
  readonly set: string;
  /** As errors name it. */
  readonly subject: string;
}

function one(op: ElementRequest["op"], target: Target, elements: readonly SetElement[]): NetlinkMessage {
  const { table, set, subject } = target;
  return element({
    op,
    subject: `${subject} in ${set} of table ${table}`,
    attributes: writeElements(table, set, elements),
  });
}

/**
 * Deleting what is not there is refused. Adding it first makes that harmless, and refuses where the key has another value;
 * where key and value are there already, adding them does nothing.
 */
function removal(target: Target, elements: readonly SetElement[]): NetlinkMessage[] {
  return [one("add", target, elements), one("delete", target, elements)];
}

/** Removals come before additions, so that one transaction can hand something over. */
export function encodeRuleChange(table: string, change: RuleChange): NetlinkMessage[] {
  const { install = [], networks, clusterNetworks, ports, hairpins, bridges = [] } = change;
  const networkTarget = (cidr: string): Target => ({
    table,
    set: families[cidr.includes(":") ? 6 : 4].networks,
    subject: cidr,
  });
  const portTarget = (port: HostPort): Target => ({ table, set: mapOf(port), subject: describePort(port) });
  const hairpinTarget = (address: string): Target => ({
    table,
    set: families[address.includes(":") ? 6 : 4].hairpin,
    subject: address,
  });
  return [
    ...install.flatMap((part) => installPart(table, part)),
    ...(networks?.remove ?? []).map((cidr) => one("delete", networkTarget(cidr), networkElements(cidr))),
    ...(networks?.add ?? []).map((cidr) => one("add", networkTarget(cidr), networkElements(cidr))),
    ...clusterRequests(table, "delete", clusterNetworks?.remove ?? []),
    ...clusterRequests(table, "add", clusterNetworks?.add ?? []),
    ...(ports?.remove ?? []).flatMap((port) => removal(portTarget(port), [portElement(port)])),
    ...[...new Set(hairpins?.remove)].flatMap((address) =>
      removal(hairpinTarget(address), [hairpinElement(address)]),
    ),
    ...(ports?.add ?? []).map((port) => one("add-new", portTarget(port), [portElement(port)])),
    ...(hairpins?.add ?? []).map((address) => one("add", hairpinTarget(address), [hairpinElement(address)])),
    ...bridges.map((name) => one("add", { table, set: bridgeSet, subject: name }, [bridgeElement(name)])),
  ];
}

/** There may be thousands, and what is asked for in one message is answered in one. */
function clusterRequests(table: string, op: "add" | "delete", cidrs: readonly string[]): NetlinkMessage[] {
  return allFamilies.flatMap((family) => {
    const target = { table, set: families[family].cluster, subject: "networks of the cluster" };
    const elements = cidrs
      .filter((cidr) => cidr.includes(":") === (family === 6))
      .flatMap((cidr) => networkElements(cidr));
    const parts = Array.from({ length: Math.ceil(elements.length / ELEMENTS_AT_ONCE) }, (_, part) =>
      elements.slice(part * ELEMENTS_AT_ONCE, (part + 1) * ELEMENTS_AT_ONCE),
    );
    return parts.map((part) => one(op, target, part));
  });
}

/** As in `tcp port 8080 of 192.0.2.1`. */
function describePort({ protocol, hostPort, hostIp }: HostPort): string {
  return `${protocol} port ${hostPort}${hostIp === undefined ? "" : ` of ${hostIp}`}`;
}
