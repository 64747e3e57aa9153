/** Host ports as elements of nf_tables maps. A key has columns of four bytes each, padded with zeros, as registers do. */
import ipaddr from "ipaddr.js";
import { linkNameBytes } from "./expressions.ts";
import { type Family, families } from "./layout.ts";
import type { SetElement } from "./sets.ts";

const protocolNumbers = { tcp: 6, udp: 17, sctp: 132 } as const;
const COLUMN = 4;

/** Transport protocols that have ports. */
export type Transport = keyof typeof protocolNumbers;

/** What a host port is claimed by: two that share all of it cannot both be there. */
export interface HostPortKey {
  readonly family: Family;
  readonly protocol: Transport;
  readonly hostPort: number;
  /** One address of the host; undefined for all of this family. */
  readonly hostIp: string | undefined;
}

/** A port of the host that leads to one of a pod. */
export interface HostPort extends HostPortKey {
  readonly podAddress: string;
  readonly podPort: number;
}

const bytesOf = (address: string): Buffer => Buffer.from(ipaddr.parse(address).toByteArray());
const textOf = (bytes: Buffer): string => ipaddr.fromByteArray([...bytes]).toString();

function portColumn(port: number): Buffer {
  const bytes = Buffer.alloc(COLUMN);
  bytes.writeUInt16BE(port);
  return bytes;
}

/** The map that a port is in. */
export function mapOf({ family, hostIp }: HostPortKey): string {
  return hostIp === undefined ? families[family].ports : families[family].addressPorts;
}

/** Its key alone: for asking. */
export function portKeyElement({ protocol, hostPort, hostIp }: HostPortKey): SetElement {
  const key = Buffer.concat([
    hostIp === undefined ? Buffer.alloc(0) : bytesOf(hostIp),
    Buffer.from([protocolNumbers[protocol], 0, 0, 0]),
    portColumn(hostPort),
  ]);
  return { key, intervalEnd: false };
}

/** Key and value. */
export function portElement(port: HostPort): SetElement {
  const value = Buffer.concat([bytesOf(port.podAddress), portColumn(port.podPort)]);
  return { ...portKeyElement(port), value };
}

/** What a dumped element of a map stands for; nothing for a protocol that is none of ours. */
export function readPort(family: Family, { key, value }: SetElement): HostPort[] {
  const { bytes } = families[family];
  const afterAddress = key.length - 2 * COLUMN;
  const protocol = (Object.keys(protocolNumbers) as Transport[]).find(
    (name) => protocolNumbers[name] === key[afterAddress],
  );
  if (!protocol || !value || value.length !== bytes + COLUMN) return [];
  return [
    {
      family,
      protocol,
      hostPort: key.readUInt16BE(afterAddress + COLUMN),
      hostIp: afterAddress > 0 ? textOf(key.subarray(0, afterAddress)) : undefined,
      podAddress: textOf(value.subarray(0, bytes)),
      podPort: value.readUInt16BE(bytes),
    },
  ];
}

/** A pod's address, twice: as source and as destination. */
export function hairpinElement(podAddress: string): SetElement {
  const bytes = bytesOf(podAddress);
  return { key: Buffer.concat([bytes, bytes]), intervalEnd: false };
}

/** The address of such an element. */
export function readHairpin({ key }: SetElement): string {
  return textOf(key.subarray(0, key.length / 2));
}

/** A bridge's name, twice: packets come in and leave by it. */
export function bridgeElement(name: string): SetElement {
  return { key: Buffer.concat([linkNameBytes(name), linkNameBytes(name)]), intervalEnd: false };
}

/** The name of such an element. */
export function readBridge({ key }: SetElement): string {
  return key.toString("utf8", 0, key.indexOf(0));
}
