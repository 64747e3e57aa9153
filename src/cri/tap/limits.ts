/** The bounds of what the tap keeps in memory for a peer. Beyond one, a stream or a connection fails closed. */

/** What a tap may keep; every bound is per connection unless it says otherwise. */
export interface TapLimits {
  /** Largest request message that is held for editing; the runtimes' own limit is 16 MiB. Beyond: RESOURCE_EXHAUSTED. */
  readonly maxMessageBytes: number;
  /** Held and queued request bytes of all connections together. Beyond: the connection that asks for more is closed. */
  readonly maxHeldBytes: number;
  /** Header block, all its frames together. Beyond: the connection is closed. */
  readonly maxHeaderBlockBytes: number;
  /** Streams open at once on a connection. Beyond: the connection is closed. */
  readonly maxStreams: number;
  /** Complete messages at once whose decision is not made yet. Beyond: the call gets RESOURCE_EXHAUSTED. */
  readonly maxPending: number;
  /** Streams whose late request bytes are still discarded one by one; older ones are dealt with as unknown. */
  readonly maxDiscarding: number;
}

const MIB = 1 << 20;

/** In force where the caller says nothing: the runtimes' own message limit, and four such messages at once. */
export const defaultLimits: TapLimits = {
  maxMessageBytes: 16 * MIB,
  maxHeldBytes: 64 * MIB,
  maxHeaderBlockBytes: MIB,
  maxStreams: 65_536,
  maxPending: 4_096,
  maxDiscarding: 1_000,
};

/** Counts the held bytes of the whole process against their limit. */
export class HeldBudget {
  #bytes = 0;
  readonly #maxBytes: number;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Adds `bytes`; false, and nothing added, where that would exceed the limit. */
  take(bytes: number): boolean {
    if (this.#bytes + bytes > this.#maxBytes) return false;
    this.#bytes += bytes;
    return true;
  }

  /** As `take`, but leaves the half of the limit alone: for what can be done without. */
  takeSpare(bytes: number): boolean {
    if (this.#bytes + bytes > this.#maxBytes / 2) return false;
    this.#bytes += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#bytes -= bytes;
  }
}
