/**
 * An HPACK encoder for tests (RFC 7541) that chooses at random among all ways to write a field: indexed, with or without
 * indexing, names by index or in full, Huffman coded or not, and table size updates when they are due or just allowed.
 */
import { FIRST_DYNAMIC_INDEX, staticFields, staticNames } from "../hpack/static-table.ts";
import { encodeHuffman } from "./huffman-writer.ts";
import type { Random } from "./random.ts";

type Field = readonly [name: string, value: string];

const OVERHEAD = 32;

/** One per direction of a connection. Its blocks must be decoded in order. */
export class HpackWriter {
  readonly #random: Random;
  /** Newest first. */
  readonly #table: Field[] = [];
  #maxBytes = 4096;
  #limitBytes = 4096;
  /** Sizes that the next block opens with. */
  #due: number[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  /** The other side's SETTINGS_HEADER_TABLE_SIZE, acknowledged. */
  setLimit(bytes: number): void {
    this.#limitBytes = bytes;
    if (bytes < this.#maxBytes) this.#resize(bytes);
  }

  /** Encodes `fields`, in order; strings are octets as latin-1. */
  block(fields: readonly Field[]): Buffer {
    if (this.#random.chance(12)) this.#resize(this.#random.below(Math.min(this.#limitBytes, 8_192) + 1));
    const parts = this.#due.splice(0).map((bytes) => integer(bytes, 5, 0x20));
    for (const field of fields) parts.push(this.#field(field));
    return Buffer.concat(parts);
  }

  #resize(bytes: number): void {
    this.#maxBytes = bytes;
    this.#evict();
    // Several changes between two blocks: the lowest, then the last (section 4.2).
    const lowest = Math.min(bytes, ...this.#due);
    this.#due = lowest < bytes ? [lowest, bytes] : [bytes];
  }

  #field([name, value]: Field): Buffer {
    const whole = this.#find(staticFields.get(`${name}\0${value}`), name, value);
    if (whole > 0 && !this.#random.chance(4)) return integer(whole, 7, 0x80);
    const nameIndex = this.#random.chance(4) ? 0 : this.#find(staticNames.get(name), name);
    const way = this.#random.below(4);
    const head = way < 2 ? integer(nameIndex, 6, 0x40) : integer(nameIndex, 4, way === 2 ? 0x00 : 0x10);
    const text = nameIndex === 0 ? [this.#string(name), this.#string(value)] : [this.#string(value)];
    if (way < 2) {
      this.#table.unshift([name, value]);
      this.#evict();
    }
    return Buffer.concat([head, ...text]);
  }

  /** An index for the field, or its name alone: of either table where both have it; 0 where neither has. */
  #find(fixed: number | undefined, name: string, value?: string): number {
    const own = this.#table.findIndex((field) => field[0] === name && (value ?? field[1]) === field[1]);
    if (own >= 0 && (fixed === undefined || this.#random.chance(2))) return FIRST_DYNAMIC_INDEX + own;
    return fixed ?? 0;
  }

  #string(text: string): Buffer {
    const coded = this.#random.chance(2);
    const octets = coded ? encodeHuffman(text) : Buffer.from(text, "latin1");
    return Buffer.concat([integer(octets.length, 7, coded ? 0x80 : 0), octets]);
  }

  #evict(): void {
    const size = () =>
      this.#table.reduce((sum, [name, value]) => sum + name.length + value.length + OVERHEAD, 0);
    while (this.#table.length > 0 && size() > this.#maxBytes) this.#table.pop();
  }
}

/** Section 5.1. */
export function integer(value: number, prefixBits: number, flags: number): Buffer {
  const mask = 2 ** prefixBits - 1;
  if (value < mask) return Buffer.of(flags | value);
  const octets = [flags | mask];
  let rest = value - mask;
  for (; rest >= 128; rest = Math.floor(rest / 128)) octets.push((rest % 128) | 128);
  return Buffer.from([...octets, rest]);
}
