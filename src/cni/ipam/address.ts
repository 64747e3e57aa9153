/** IP addresses and networks of both families as values. Pure arithmetic; texts are canonical on the way out. */
import ipaddr from "ipaddr.js";

/** An address as a number: the first bit of the text is the highest bit. */
export interface IpAddress {
  readonly family: 4 | 6;
  readonly value: bigint;
}

/** A block of addresses. */
export interface IpNetwork {
  /** The address with all host bits zero. */
  readonly base: IpAddress;
  readonly prefixLength: number;
}

/** The bits of an address. */
export const bitsOf = (family: 4 | 6): number => (family === 4 ? 32 : 128);

/** Undefined for what is no address. Of IPv4 only the form of four decimal parts: `10.1` means different things to different readers. */
export function parseAddress(text: string): IpAddress | undefined {
  const plain = text.includes(":") ? ipaddr.IPv6.isValid(text) : ipaddr.IPv4.isValidFourPartDecimal(text);
  if (!plain || text.includes("%")) return undefined;
  const parsed = ipaddr.parse(text);
  const value = parsed.toByteArray().reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  return { family: parsed.kind() === "ipv4" ? 4 : 6, value };
}

/** Canonical: of IPv6 with `::` for the longest run of zeros (RFC 5952). */
export function formatAddress({ family, value }: IpAddress): string {
  const bytes = Array.from({ length: bitsOf(family) / 8 }, (_, index) =>
    Number((value >> BigInt(bitsOf(family) - 8 * (index + 1))) & 0xffn),
  );
  return ipaddr.fromByteArray(bytes).toString();
}

/** An address with the length of its network's prefix, as it was written. */
export interface Cidr {
  readonly address: IpAddress;
  readonly prefixLength: number;
}

/** `address/prefixLength`; host bits may be set. */
export function parseCidr(text: string): Cidr | undefined {
  const match = /^([^/]+)\/(0|[1-9][0-9]{0,2})$/.exec(text);
  const address = parseAddress(match?.[1] ?? "");
  const prefixLength = Number(match?.[2]);
  if (!address || prefixLength > bitsOf(address.family)) return undefined;
  return { address, prefixLength };
}

/** The network that an address lies in. */
export function networkOf({ address, prefixLength }: Cidr): IpNetwork {
  const hostBits = BigInt(bitsOf(address.family) - prefixLength);
  const base = { family: address.family, value: (address.value >> hostBits) << hostBits };
  return { base, prefixLength };
}

/** As in `10.88.0.0/16`. */
export function formatNetwork({ base, prefixLength }: IpNetwork): string {
  return `${formatAddress(base)}/${prefixLength}`;
}

/** The last address of a network: of IPv4 its broadcast address. */
export function lastOf({ base, prefixLength }: IpNetwork): IpAddress {
  const size = 1n << BigInt(bitsOf(base.family) - prefixLength);
  return { family: base.family, value: base.value + size - 1n };
}

/** Whether an address of the same family lies in the network. */
export function contains(network: IpNetwork, address: IpAddress): boolean {
  return (
    network.base.family === address.family &&
    network.base.value <= address.value &&
    address.value <= lastOf(network).value
  );
}

/** Whether two networks share an address: then one holds the other. */
export function overlap(left: IpNetwork, right: IpNetwork): boolean {
  return contains(left, right.base) || contains(right, left.base);
}
