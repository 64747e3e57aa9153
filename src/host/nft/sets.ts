/** IPv4 networks as elements of an nf_tables interval set: each is a start key and an end key that is one past it. */
import ipaddr from "ipaddr.js";
import { AttributeWriter, listAttributes, readAttributes } from "../netlink/codec.ts";

const NFTA_SET_ELEM_LIST_ELEMENTS = 3;
const NFTA_SET_ELEM_KEY = 1;
const NFTA_SET_ELEM_FLAGS = 3;
const NFT_SET_ELEM_INTERVAL_END = 1;
const NFTA_LIST_ELEM = 1;
const NFTA_DATA_VALUE = 1;

/** One key of an interval set. */
export interface SetElement {
  readonly key: number;
  readonly intervalEnd: boolean;
}

const bounds = (cidr: string): { first: number; size: number } => {
  const [address, prefixLength] = ipaddr.IPv4.parseCIDR(cidr);
  return { first: Buffer.from(address.toByteArray()).readUInt32BE(), size: 2 ** (32 - prefixLength) };
};

function keyBytes(key: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(key);
  return bytes;
}

/** The attributes of a request that adds or deletes the two elements of a network. */
export function writeElements(table: string, set: string, cidr: string): AttributeWriter {
  const { first, size } = bounds(cidr);
  const end = first + size;
  return new AttributeWriter()
    .text(1, table)
    .text(2, set)
    .nest(NFTA_SET_ELEM_LIST_ELEMENTS, (list) => {
      list.nest(NFTA_LIST_ELEM, (element) =>
        element.nest(NFTA_SET_ELEM_KEY, (key) => key.bytes(NFTA_DATA_VALUE, keyBytes(first))),
      );
      // An interval that reaches the last address has no key past it, and is open.
      if (end > 0xffff_ffff) return;
      list.nest(NFTA_LIST_ELEM, (element) =>
        element
          .nest(NFTA_SET_ELEM_KEY, (key) => key.bytes(NFTA_DATA_VALUE, keyBytes(end)))
          .u32BigEndian(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END),
      );
    });
}

/** The elements in one message of a dump. */
export function readElements(payload: Buffer): SetElement[] {
  const list = readAttributes(payload.subarray(4)).get(NFTA_SET_ELEM_LIST_ELEMENTS);
  return listAttributes(list ?? Buffer.alloc(0)).flatMap(([, value]) => {
    const attributes = readAttributes(value);
    const key = readAttributes(attributes.get(NFTA_SET_ELEM_KEY) ?? Buffer.alloc(0)).get(NFTA_DATA_VALUE);
    const flags = attributes.get(NFTA_SET_ELEM_FLAGS)?.readUInt32BE(0) ?? 0;
    if (key?.length !== 4) return [];
    return [{ key: key.readUInt32BE(0), intervalEnd: (flags & NFT_SET_ELEM_INTERVAL_END) !== 0 }];
  });
}

/** The networks that a dump's elements stand for, whatever their order. What is no network is left out. */
export function cidrsOfElements(elements: readonly SetElement[]): string[] {
  // Where one network ends and the next begins at one key, the end comes first.
  const sorted = [...elements].sort(
    (left, right) => left.key - right.key || Number(right.intervalEnd) - Number(left.intervalEnd),
  );
  const found: string[] = [];
  let start: number | undefined;
  for (const { key, intervalEnd } of sorted) {
    if (start !== undefined && intervalEnd) found.push(...cidrOf(start, key));
    start = intervalEnd ? undefined : key;
  }
  if (start !== undefined) found.push(...cidrOf(start, 2 ** 32));
  return found;
}

function cidrOf(first: number, end: number): string[] {
  const prefixLength = 32 - Math.log2(end - first);
  if (!Number.isInteger(prefixLength)) return [];
  return [`${ipaddr.fromByteArray([...keyBytes(first)]).toString()}/${prefixLength}`];
}
