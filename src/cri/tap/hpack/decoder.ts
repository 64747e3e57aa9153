/**
 * The HPACK decoder (RFC 7541): one per direction of a connection, fed every header block in order.
 * The tap only looks on, so strings are built for the names that its owner wants; all else is checked and skipped.
 */
import { DynamicTable } from "./dynamic-table.ts";
import { hpackError } from "./hpack-error.ts";
import { decodeHuffman, maxDecodedBytes } from "./huffman.ts";
import { FIRST_DYNAMIC_INDEX, staticTable } from "./static-table.ts";

/** Receives the fields of a block, in order. Octets above 127 arrive as latin-1 characters. */
export interface FieldSink {
  field(name: string, value: string): void;
}

/** Until the decoder's side says otherwise (RFC 9113, section 6.5.2). */
export const DEFAULT_TABLE_BYTES = 4096;
/** An encoder that uses a larger table than this is refused: the mirror of its table would be memory of ours. */
const MAX_TABLE_BYTES = 1 << 20;
const SCRATCH_BYTES = 1024;
/** Integers stop here, well below where shifts lose bits; no length or index of a real block comes near. */
const MAX_INTEGER = 0x0fff_ffff;

/** Mirrors the decoder of the peer that the blocks are for. */
export class HpackDecoder {
  readonly #table = new DynamicTable(DEFAULT_TABLE_BYTES);
  readonly #wanted: ReadonlySet<string> | undefined;
  readonly #staticWanted: readonly boolean[];
  /** SETTINGS_HEADER_TABLE_SIZE of the block's receiver: the most that a size update may ask for. */
  #limitBytes = DEFAULT_TABLE_BYTES;
  #scratch = Buffer.allocUnsafe(SCRATCH_BYTES);
  #block: Buffer = this.#scratch;
  #at = 0;
  #end = 0;
  /** Of the string read or skipped last: its octets, decoded, and whether it was Huffman coded. */
  #octets = 0;
  #coded = false;

  /** Fields whose name is in `wanted` are reported; all of them without `wanted`. */
  constructor(wanted?: ReadonlySet<string>) {
    this.#wanted = wanted;
    this.#staticWanted = staticTable.map(([name]) => wanted?.has(name) ?? true);
  }

  /** Octets that the dynamic table may take now, as the encoder said last. */
  get tableMaxBytes(): number {
    return this.#table.maxBytes;
  }

  get tableSizeBytes(): number {
    return this.#table.sizeBytes;
  }

  get tableCount(): number {
    return this.#table.count;
  }

  get limitBytes(): number {
    return this.#limitBytes;
  }

  /**
   * Sets what size updates may ask for. That an encoder announces a reduction in its next block is between it and the
   * real decoder: until it does, its table is as it was, and so is this mirror of it.
   */
  setLimit(bytes: number): void {
    this.#limitBytes = bytes;
  }

  /** Applies a size update that this side put into the stream of blocks itself. */
  resizeTable(bytes: number): void {
    this.#table.resize(bytes);
  }

  /** Decodes the complete block `buffer[start, end)`; throws an `hpackError`, after which the decoder is unusable. */
  decode(buffer: Buffer, { start, end }: { start: number; end: number }, sink: FieldSink): void {
    this.#block = buffer;
    this.#at = start;
    this.#end = end;
    let sizeMayChange = true;
    while (this.#at < this.#end) {
      const first = buffer[this.#at] as number;
      if (first >= 0x80) {
        sizeMayChange = false;
        this.#indexed(this.#integer(0x7f), sink);
      } else if (first >= 0x40) {
        sizeMayChange = false;
        this.#literal(this.#integer(0x3f), true, sink);
      } else if (first < 0x20) {
        sizeMayChange = false;
        this.#literal(this.#integer(0x0f), false, sink);
      } else {
        if (!sizeMayChange) throw hpackError("a table size update after the first field");
        this.#sizeUpdate(this.#integer(0x1f));
      }
    }
  }

  #indexed(index: number, sink: FieldSink): void {
    if (index < FIRST_DYNAMIC_INDEX) {
      const field = staticTable[index];
      if (field === undefined || index === 0) throw hpackError("index 0");
      if (this.#staticWanted[index]) sink.field(field[0], field[1]);
      return;
    }
    const entry = this.#table.get(index - FIRST_DYNAMIC_INDEX);
    if (entry === undefined) throw hpackError(`index ${index} is beyond the dynamic table`);
    if (entry.wanted) sink.field(entry.name, entry.value);
  }

  #literal(nameIndex: number, keep: boolean, sink: FieldSink): void {
    let name: string;
    let wanted: boolean;
    if (nameIndex === 0) {
      name = this.#readString();
      wanted = this.#wanted?.has(name) ?? true;
    } else if (nameIndex < FIRST_DYNAMIC_INDEX) {
      name = (staticTable[nameIndex] as readonly [string, string])[0];
      wanted = this.#staticWanted[nameIndex] as boolean;
    } else {
      const entry = this.#table.get(nameIndex - FIRST_DYNAMIC_INDEX);
      if (entry === undefined) throw hpackError(`name index ${nameIndex} is beyond the dynamic table`);
      name = entry.name;
      wanted = entry.wanted;
    }
    let value = "";
    if (wanted) value = this.#readString();
    else this.#skipString();
    if (keep) this.#table.insert(name, value, { octets: name.length + this.#octets, wanted });
    if (wanted) sink.field(name, value);
  }

  #sizeUpdate(bytes: number): void {
    if (bytes > this.#limitBytes) {
      throw hpackError(`a table size update to ${bytes} where ${this.#limitBytes} is allowed`);
    }
    if (bytes > MAX_TABLE_BYTES) throw hpackError(`a table size update to ${bytes}`);
    this.#table.resize(bytes);
  }

  /** An integer whose prefix fills `mask` of the octet at hand (RFC 7541, section 5.1). */
  #integer(mask: number): number {
    const block = this.#block;
    let value = (block[this.#at++] as number) & mask;
    if (value < mask) return value;
    for (let shift = 0; shift <= 28; shift += 7) {
      if (this.#at >= this.#end) throw hpackError("it ends within an integer");
      const octet = block[this.#at++] as number;
      value += (octet & 0x7f) * 2 ** shift;
      if (value > MAX_INTEGER) break;
      if (octet < 0x80) return value;
    }
    throw hpackError("an integer too large");
  }

  /** Moves past the string at hand and returns where its octets start. */
  #openString(): number {
    if (this.#at >= this.#end) throw hpackError("it ends before a string");
    this.#coded = ((this.#block[this.#at] as number) & 0x80) !== 0;
    const length = this.#integer(0x7f);
    const start = this.#at;
    if (length > this.#end - start) throw hpackError("a string longer than the block");
    this.#at = start + length;
    return start;
  }

  #readString(): string {
    const start = this.#openString();
    if (!this.#coded) {
      this.#octets = this.#at - start;
      return this.#block.toString("latin1", start, this.#at);
    }
    this.#octets = this.#unpack(start);
    return this.#scratch.toString("latin1", 0, this.#octets);
  }

  /** As `readString`, without building one: Huffman coded octets are still checked and counted. */
  #skipString(): void {
    const start = this.#openString();
    this.#octets = this.#coded ? this.#unpack(start) : this.#at - start;
  }

  #unpack(start: number): number {
    const needed = maxDecodedBytes(this.#at - start);
    if (needed > this.#scratch.length) this.#scratch = Buffer.allocUnsafe(needed * 2);
    const octets = decodeHuffman(this.#block, { start, end: this.#at }, this.#scratch);
    if (octets < 0) throw hpackError("a string that is not valid Huffman code");
    return octets;
  }
}
