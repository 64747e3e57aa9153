/** A map that forgets what was used least recently, by number of entries and by their weight. */

export interface Bounds<T> {
  readonly maxEntries: number;
  readonly maxWeight: number;
  weightOf(value: T): number;
}

/** By text keys. Reading an entry makes it the most recently used one. */
export class BoundedMap<T> {
  readonly #bounds: Bounds<T>;
  /** In the order of use: the first is forgotten first. */
  readonly #entries = new Map<string, { readonly value: T; readonly weight: number }>();
  #weight = 0;

  constructor(bounds: Bounds<T>) {
    this.#bounds = bounds;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): T | undefined {
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.value;
  }

  set(key: string, value: T): void {
    this.delete(key);
    const weight = this.#bounds.weightOf(value);
    this.#entries.set(key, { value, weight });
    this.#weight += weight;
    while (this.#entries.size > this.#bounds.maxEntries || this.#weight > this.#bounds.maxWeight) {
      const [oldest] = this.#entries.keys();
      if (oldest === undefined) return;
      this.delete(oldest);
    }
  }

  delete(key: string): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#entries.delete(key);
    this.#weight -= entry.weight;
  }
}
