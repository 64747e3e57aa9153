/**
 * A second HPACK decoder, written for comparison: plain lists and a map of codes instead of rings and state machines. It shares
 * the tables of the RFC with the one that is tested, and the bounds that this one sets, but no code.
 */
import { staticTable } from "../../src/cri/tap/hpack/static-table.ts";
import { huffmanCodes } from "../../src/cri/tap/testing/huffman-writer.ts";

export type Field = readonly [name: string, value: string];

const EOS = 256;
const MAX_INTEGER = 0x0fff_ffff;
const MAX_TABLE_BYTES = 1 << 20;
/** By code, a 1 before its bits. */
const symbols = new Map(huffmanCodes.map((code, symbol) => [Number.parseInt(`1${code}`, 2), symbol]));

/** What is wrong with a block. */
export class Malformed extends Error {}

/** One per direction, like the one it checks. */
export class ReferenceHpack {
  limitBytes = 4096;
  #table: Field[] = [];
  #maxBytes = 4096;
  #block: Buffer = Buffer.alloc(0);
  #at = 0;

  get tableBytes(): number {
    return this.#table.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0);
  }

  decode(block: Buffer): Field[] {
    this.#block = block;
    this.#at = 0;
    const fields: Field[] = [];
    let updates = true;
    while (this.#at < block.length) {
      const first = block[this.#at] as number;
      if (first >> 5 === 0b001) {
        if (!updates) throw new Malformed("late update");
        this.#update(this.#integer(5));
        continue;
      }
      updates = false;
      if (first >> 7 === 1) {
        fields.push(this.#entry(this.#integer(7)));
        continue;
      }
      const keep = first >> 6 === 0b01;
      const index = this.#integer(keep ? 6 : 4);
      const name = index === 0 ? this.#string() : this.#entry(index)[0];
      const field: Field = [name, this.#string()];
      fields.push(field);
      if (!keep) continue;
      this.#table = [field, ...this.#table];
      this.#evict();
    }
    return fields;
  }

  #update(bytes: number): void {
    if (bytes > this.limitBytes || bytes > MAX_TABLE_BYTES) throw new Malformed("update");
    this.#maxBytes = bytes;
    this.#evict();
  }

  #evict(): void {
    while (this.tableBytes > this.#maxBytes) this.#table.pop();
  }

  #entry(index: number): Field {
    const entry = index === 0 ? undefined : (staticTable[index] ?? this.#table[index - staticTable.length]);
    if (entry === undefined) throw new Malformed("index");
    return entry;
  }

  #octet(): number {
    const octet = this.#block[this.#at++];
    if (octet === undefined) throw new Malformed("end");
    return octet;
  }

  #integer(prefixBits: number): number {
    const mask = 2 ** prefixBits - 1;
    const prefix = this.#octet() & mask;
    if (prefix < mask) return prefix;
    const groups: number[] = [];
    let octet: number;
    do {
      octet = this.#octet();
      groups.push(octet & 127);
      if (groups.length > 5) throw new Malformed("integer");
    } while (octet > 127);
    const value = mask + groups.reduceRight((sum, group) => sum * 128 + group, 0);
    if (value > MAX_INTEGER) throw new Malformed("integer");
    return value;
  }

  #string(): string {
    const coded = ((this.#block[this.#at] ?? 0) & 0x80) !== 0;
    const length = this.#integer(7);
    if (length > this.#block.length - this.#at) throw new Malformed("string");
    const octets = this.#block.subarray(this.#at, this.#at + length);
    this.#at += length;
    return coded ? unpack(octets) : octets.toString("latin1");
  }
}

function unpack(octets: Buffer): string {
  let text = "";
  let code = 1;
  for (const octet of octets) {
    for (let bit = 7; bit >= 0; bit--) {
      code = code * 2 + ((octet >> bit) & 1);
      const symbol = symbols.get(code);
      if (symbol === undefined) continue;
      if (symbol === EOS) throw new Malformed("EOS");
      text += String.fromCharCode(symbol);
      code = 1;
    }
  }
  if (!["1", "11", "111", "1111", "11111", "111111", "1111111", "11111111"].includes(code.toString(2)))
    throw new Malformed("padding");
  return text;
}
