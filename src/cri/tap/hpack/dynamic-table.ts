/**
 * The dynamic table of HPACK (RFC 7541, sections 2.3.2 and 4): a ring of entries, newest first, evicted by size.
 * Values that nobody wants to read are kept as a size only. What a size may be is the decoder's to check.
 */

/** What an entry costs besides its octets (RFC 7541, section 4.1). */
const ENTRY_OVERHEAD = 32;
const FIRST_CAPACITY = 64;

interface Entry {
  name: string;
  value: string;
  wanted: boolean;
  sizeBytes: number;
}

/** Starts empty, with `maxBytes` to fill. */
export class DynamicTable {
  /** Slots are reused, so that a steady flow of inserts and evictions makes no garbage but its strings. */
  #slots: Entry[] = emptySlots(FIRST_CAPACITY);
  /** Index of the newest entry within the ring. */
  #newest = 0;
  #count = 0;
  #sizeBytes = 0;
  #maxBytes: number;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get count(): number {
    return this.#count;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get maxBytes(): number {
    return this.#maxBytes;
  }

  /** The entry `age` inserts ago, 0 being the newest; undefined beyond the oldest. Valid until the next insert. */
  get(age: number): Readonly<Entry> | undefined {
    return age < this.#count ? this.#slots[(this.#newest + age) & (this.#slots.length - 1)] : undefined;
  }

  resize(maxBytes: number): void {
    this.#maxBytes = maxBytes;
    this.#evictTo(maxBytes);
  }

  /** Adds an entry of `octets` name and value octets. One larger than the table empties it, which is no error. */
  insert(name: string, value: string, { octets, wanted }: { octets: number; wanted: boolean }): void {
    const sizeBytes = octets + ENTRY_OVERHEAD;
    this.#evictTo(this.#maxBytes - sizeBytes);
    if (sizeBytes > this.#maxBytes) return;
    if (this.#count === this.#slots.length) this.#grow();
    this.#newest = (this.#newest - 1) & (this.#slots.length - 1);
    const slot = this.#slots[this.#newest] as Entry;
    slot.name = name;
    slot.value = value;
    slot.wanted = wanted;
    slot.sizeBytes = sizeBytes;
    this.#count++;
    this.#sizeBytes += sizeBytes;
  }

  #evictTo(bytes: number): void {
    while (this.#count > 0 && this.#sizeBytes > bytes) {
      this.#count--;
      const slot = this.#slots[(this.#newest + this.#count) & (this.#slots.length - 1)] as Entry;
      this.#sizeBytes -= slot.sizeBytes;
      slot.value = "";
    }
  }

  #grow(): void {
    const before = this.#slots;
    const after = emptySlots(before.length * 2);
    for (let age = 0; age < this.#count; age++) {
      after[age] = before[(this.#newest + age) & (before.length - 1)] as Entry;
    }
    this.#slots = after;
    this.#newest = 0;
  }
}

function emptySlots(count: number): Entry[] {
  return Array.from({ length: count }, () => ({ name: "", value: "", wanted: false, sizeBytes: 0 }));
}
