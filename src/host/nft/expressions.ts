/** The expressions of nf_tables rules, as their attributes. Numbers are those of linux/netfilter/nf_tables.h. */
import { AttributeWriter } from "../netlink/codec.ts";

/** One step of a rule: it loads a register, decides whether the rule goes on, or acts. */
export type Expression = readonly [name: string, data: AttributeWriter];

/** Address families as nf_tables counts them. */
export const NFPROTO_INET = 1;
export const NFPROTO_IPV4 = 2;
export const NFPROTO_IPV6 = 10;

const NFT_META_IIFNAME = 6;
const NFT_META_OIFNAME = 7;
const NFT_META_NFPROTO = 15;
const NFT_META_L4PROTO = 16;
const NFT_PAYLOAD_NETWORK_HEADER = 1;
const NFT_PAYLOAD_TRANSPORT_HEADER = 2;
const NFT_CMP_EQ = 0;
const NFT_CMP_NEQ = 1;
const NFT_LOOKUP_F_INV = 1;
const NFT_FIB_RESULT_ADDRTYPE = 3;
const NFTA_FIB_F_DADDR = 2;
const NFT_CT_STATUS = 2;
const IPS_DST_NAT = 0x20;
const NFT_NAT_DNAT = 1;
const VERDICT_REGISTER = 0;
const NFT_JUMP = 0xffff_fffd;
const NF_DROP = 0;
const IFNAMSIZ = 16;
const DESTINATION_PORT_OFFSET = 2;

/** The first of the sixteen registers of four bytes each: a value of 16 bytes fills four of them. */
const REGISTERS = 8;
/** By its place: `register(0)` holds the first four bytes of a key. */
export const register = (place: number): number => REGISTERS + place;

const load = (name: string, data: AttributeWriter): Expression => [name, data];

function meta(key: number, place: number): Expression {
  return load("meta", new AttributeWriter().u32BigEndian(1, register(place)).u32BigEndian(2, key));
}

/** Loads the transport protocol's number. */
export const loadProtocol = (place: number): Expression => meta(NFT_META_L4PROTO, place);
/** Loads the name of the interface by which the packet came: 16 bytes. */
export const loadInputLink = (place: number): Expression => meta(NFT_META_IIFNAME, place);
/** Loads the name of the interface by which the packet leaves: 16 bytes. */
export const loadOutputLink = (place: number): Expression => meta(NFT_META_OIFNAME, place);

interface Field {
  readonly offset: number;
  readonly length: number;
  readonly place?: number;
}

function payload(base: number, { offset, length, place = 0 }: Field): Expression {
  const data = new AttributeWriter()
    .u32BigEndian(1, register(place))
    .u32BigEndian(2, base)
    .u32BigEndian(3, offset)
    .u32BigEndian(4, length);
  return load("payload", data);
}

/** Bytes of the IP header. */
export const loadNetwork = (field: Field): Expression => payload(NFT_PAYLOAD_NETWORK_HEADER, field);
/** Where TCP, UDP and SCTP alike have it. */
export const loadDestinationPort = (place: number): Expression =>
  payload(NFT_PAYLOAD_TRANSPORT_HEADER, { offset: DESTINATION_PORT_OFFSET, length: 2, place });

function compare(operation: number, value: Uint8Array): Expression {
  const data = new AttributeWriter()
    .u32BigEndian(1, register(0))
    .u32BigEndian(2, operation)
    .nest(3, (inner) => inner.bytes(1, value));
  return ["cmp", data];
}

/** Goes on if the first register holds this. */
export const isEqual = (value: Uint8Array): Expression => compare(NFT_CMP_EQ, value);
/** Goes on if it holds anything else. */
export const isOther = (value: Uint8Array): Expression => compare(NFT_CMP_NEQ, value);

/** Keeps the bits of `mask` in the first register. */
export function keepBits(mask: Uint8Array): Expression {
  const data = new AttributeWriter()
    .u32BigEndian(1, register(0))
    .u32BigEndian(2, register(0))
    .u32BigEndian(3, mask.length)
    .nest(4, (inner) => inner.bytes(1, mask))
    .nest(5, (inner) => inner.bytes(1, new Uint8Array(mask.length)));
  return ["bitwise", data];
}

/** Only packets of one family go on. */
export function ofFamily(family: number): Expression[] {
  return [meta(NFT_META_NFPROTO, 0), isEqual(Uint8Array.of(family))];
}

/** An interface's name as a register or a key holds it. */
export function linkNameBytes(name: string): Buffer {
  const bytes = Buffer.alloc(IFNAMSIZ);
  bytes.write(name, 0, IFNAMSIZ - 1);
  return bytes;
}

const lookupIn = (set: string): AttributeWriter =>
  new AttributeWriter().text(1, set).u32BigEndian(2, register(0));

/** Goes on if the key in the registers is in the set. */
export const isIn = (set: string): Expression => ["lookup", lookupIn(set)];
/** Goes on if it is not. */
export const isNotIn = (set: string): Expression => [
  "lookup",
  lookupIn(set).u32BigEndian(5, NFT_LOOKUP_F_INV),
];
/** Goes on if the key is in the map; the registers hold its value then. */
export const lookUp = (map: string): Expression => ["lookup", lookupIn(map).u32BigEndian(3, register(0))];

/** Goes on if the destination is an address of this host. */
export function toThisHost(): Expression[] {
  const local = Buffer.alloc(4);
  local.writeUInt32LE(2); // RTN_LOCAL, in the byte order of the processor
  const data = new AttributeWriter()
    .u32BigEndian(1, register(0))
    .u32BigEndian(2, NFT_FIB_RESULT_ADDRTYPE)
    .u32BigEndian(3, NFTA_FIB_F_DADDR);
  return [["fib", data], isEqual(local)];
}

/** Goes on if the connection's destination was translated. */
export function wasRedirected(): Expression[] {
  const bit = Buffer.alloc(4);
  bit.writeUInt32LE(IPS_DST_NAT);
  const status = new AttributeWriter().u32BigEndian(1, register(0)).u32BigEndian(2, NFT_CT_STATUS);
  return [["ct", status], keepBits(bit), isOther(new Uint8Array(4))];
}

function verdict(code: number, chain?: string): Expression {
  const data = new AttributeWriter().u32BigEndian(1, VERDICT_REGISTER).nest(2, (value) =>
    value.nest(2, (inner) => {
      inner.u32BigEndian(1, code);
      if (chain !== undefined) inner.text(2, chain);
    }),
  );
  return ["immediate", data];
}

/** Ends the packet. */
export const drop = (): Expression => verdict(NF_DROP);
/** Goes on in another chain, and comes back. */
export const jump = (chain: string): Expression => verdict(NFT_JUMP, chain);
/** Gives the packet the address of the interface by which it leaves. */
export const masquerade = (): Expression => ["masq", new AttributeWriter()];

/** Sends the connection to the address in the first registers, and the port in the one at `portPlace`. */
export function redirect(family: number, portPlace: number): Expression {
  const data = new AttributeWriter()
    .u32BigEndian(1, NFT_NAT_DNAT)
    .u32BigEndian(2, family)
    .u32BigEndian(3, register(0))
    .u32BigEndian(4, register(0))
    .u32BigEndian(5, register(portPlace))
    .u32BigEndian(6, register(portPlace));
  return ["nat", data];
}
