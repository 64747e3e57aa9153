/** Copies a message with some of its ranges replaced. Nothing is copied as long as nothing is replaced. */

export class Splicer {
  readonly #source: Buffer;
  readonly #end: number;
  #out: Buffer | undefined;
  #length = 0;
  /** Up to where the source is in the output, or was left out of it. */
  #copied: number;

  /** Of `source` from `start` to `end`; all of it if they are not given. */
  constructor(source: Buffer, start = 0, end = source.length) {
    this.#source = source;
    this.#copied = start;
    this.#end = end;
  }

  /** Leaves out `start` to `end` of the source, and puts `pieces` there. To be called in the order of the source. */
  replace(start: number, end: number, ...pieces: Uint8Array[]): void {
    this.#copyTo(start);
    this.#copied = end;
    for (const piece of pieces) this.#append(piece);
  }

  /** The new bytes, with `tail` behind them; undefined if nothing was replaced or appended. */
  finish(...tail: Uint8Array[]): Buffer | undefined {
    if (!this.#out && tail.length === 0) return undefined;
    this.#copyTo(this.#end);
    for (const piece of tail) this.#append(piece);
    return this.#out?.subarray(0, this.#length);
  }

  #copyTo(offset: number): void {
    const out = this.#room(offset - this.#copied);
    this.#length += this.#source.copy(out, this.#length, this.#copied, offset);
    this.#copied = offset;
  }

  #append(piece: Uint8Array): void {
    this.#room(piece.length).set(piece, this.#length);
    this.#length += piece.length;
  }

  #room(bytes: number): Buffer {
    const needed = this.#length + bytes;
    if (!this.#out) {
      this.#out = Buffer.allocUnsafe(Math.max(needed, this.#end - this.#copied + 256));
    } else if (needed > this.#out.length) {
      const larger = Buffer.allocUnsafe(needed * 2);
      this.#out.copy(larger, 0, 0, this.#length);
      this.#out = larger;
    }
    return this.#out;
  }
}
