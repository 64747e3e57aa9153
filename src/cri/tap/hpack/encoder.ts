/**
 * The HPACK encoder for the few header blocks of our own. It must not disturb the peer's dynamic table, which mirrors the
 * other peer's: static-table indexes and never-indexed literals only (RFC 7541, section 6.2.3), never Huffman coded.
 */
import { staticFields, staticNames } from "./static-table.ts";

const NEVER_INDEXED = 0x10;
const SIZE_UPDATE = 0x20;
const INDEXED = 0x80;

/**
 * Encodes `fields` as one block. `tableBytes` opens it with a table size update, which is due when the decoder's limit
 * went below its table's size and no block has said so yet (RFC 7541, section 4.2). Strings are octets as latin-1.
 */
export function encodeBlock(
  fields: readonly (readonly [name: string, value: string])[],
  tableBytes?: number,
): Buffer {
  const octets: number[] = [];
  if (tableBytes !== undefined) pushInteger(octets, tableBytes, { mask: 0x1f, flags: SIZE_UPDATE });
  for (const [name, value] of fields) {
    const whole = staticFields.get(`${name}\0${value}`);
    if (whole !== undefined && value !== "") {
      pushInteger(octets, whole, { mask: 0x7f, flags: INDEXED });
      continue;
    }
    const nameIndex = staticNames.get(name) ?? 0;
    pushInteger(octets, nameIndex, { mask: 0x0f, flags: NEVER_INDEXED });
    if (nameIndex === 0) pushString(octets, name);
    pushString(octets, value);
  }
  return Buffer.from(octets);
}

function pushInteger(octets: number[], value: number, prefix: { mask: number; flags: number }): void {
  if (value < prefix.mask) {
    octets.push(prefix.flags | value);
    return;
  }
  octets.push(prefix.flags | prefix.mask);
  let rest = value - prefix.mask;
  while (rest >= 0x80) {
    octets.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  octets.push(rest);
}

function pushString(octets: number[], text: string): void {
  pushInteger(octets, text.length, { mask: 0x7f, flags: 0 });
  for (let at = 0; at < text.length; at++) octets.push(text.charCodeAt(at) & 0xff);
}
