/** IP networks as elements of an nf_tables interval set: each is a start key and an end key that is one past it. */
import ipaddr from "ipaddr.js";
import { AttributeWriter, listAttributes, readAttributes } from "../netlink/codec.ts";

const NFTA_SET_ELEM_LIST_ELEMENTS = 3;
const NFTA_SET_ELEM_KEY = 1;
const NFTA_SET_ELEM_DATA = 2;
const NFTA_SET_ELEM_FLAGS = 3;
const NFT_SET_ELEM_INTERVAL_END = 1;
const NFTA_LIST_ELEM = 1;
const NFTA_DATA_VALUE = 1;

/** One element of a set; `value` is there in maps only. */
export interface SetElement {
  readonly key: Buffer;
  readonly value?: Buffer | undefined;
  readonly intervalEnd: boolean;
}

const toNumber = (bytes: Uint8Array): bigint => BigInt(`0x${Buffer.from(bytes).toString("hex")}`);

function toBytes(value: bigint, length: number): Buffer {
  return Buffer.from(value.toString(16).padStart(2 * length, "0"), "hex");
}

/** The attributes of a request about these elements. */
export function writeElements(table: string, set: string, elements: readonly SetElement[]): AttributeWriter {
  return new AttributeWriter()
    .text(1, table)
    .text(2, set)
    .nest(NFTA_SET_ELEM_LIST_ELEMENTS, (list) => {
      for (const { key, value, intervalEnd } of elements) {
        list.nest(NFTA_LIST_ELEM, (element) => {
          element.nest(NFTA_SET_ELEM_KEY, (inner) => inner.bytes(NFTA_DATA_VALUE, key));
          if (value) element.nest(NFTA_SET_ELEM_DATA, (inner) => inner.bytes(NFTA_DATA_VALUE, value));
          if (intervalEnd) element.u32BigEndian(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
        });
      }
    });
}

/** The one or two elements of a network, such as `10.88.0.0/16`. */
export function networkElements(cidr: string): SetElement[] {
  const [address, prefixLength] = ipaddr.parseCIDR(cidr);
  const bytes = Buffer.from(address.toByteArray());
  const bits = bytes.length * 8;
  const end = toNumber(bytes) + (1n << BigInt(bits - prefixLength));
  const start = { key: bytes, intervalEnd: false };
  // An interval that reaches the last address has no key past it, and is open.
  if (end >> BigInt(bits) > 0n) return [start];
  return [start, { key: toBytes(end, bytes.length), intervalEnd: true }];
}

/** The elements in one message of a dump. */
export function readElements(payload: Buffer): SetElement[] {
  const list = readAttributes(payload.subarray(4)).get(NFTA_SET_ELEM_LIST_ELEMENTS);
  return listAttributes(list ?? Buffer.alloc(0)).flatMap(([, content]) => {
    const attributes = readAttributes(content);
    const key = dataOf(attributes.get(NFTA_SET_ELEM_KEY));
    const flags = attributes.get(NFTA_SET_ELEM_FLAGS)?.readUInt32BE(0) ?? 0;
    if (!key) return [];
    const intervalEnd = (flags & NFT_SET_ELEM_INTERVAL_END) !== 0;
    return [{ key, value: dataOf(attributes.get(NFTA_SET_ELEM_DATA)), intervalEnd }];
  });
}

function dataOf(nested: Buffer | undefined): Buffer | undefined {
  return nested && readAttributes(nested).get(NFTA_DATA_VALUE);
}

/** The networks that a dump's elements stand for, whatever their order. What is no network is left out. */
export function cidrsOfElements(elements: readonly SetElement[]): string[] {
  // Where one network ends and the next begins at one key, the end comes first.
  const sorted = [...elements].sort(
    (left, right) =>
      Buffer.compare(left.key, right.key) || Number(right.intervalEnd) - Number(left.intervalEnd),
  );
  const found: string[] = [];
  let start: Buffer | undefined;
  for (const { key, intervalEnd } of sorted) {
    if (start && intervalEnd) found.push(...cidrOf(start, toNumber(key)));
    start = intervalEnd ? undefined : key;
  }
  if (start) found.push(...cidrOf(start, 1n << BigInt(start.length * 8)));
  return found;
}

function cidrOf(start: Buffer, end: bigint): string[] {
  const size = end - toNumber(start);
  const hostBits = size.toString(2).length - 1;
  if (size <= 0n || 1n << BigInt(hostBits) !== size) return [];
  return [`${ipaddr.fromByteArray([...start]).toString()}/${start.length * 8 - hostBits}`];
}
