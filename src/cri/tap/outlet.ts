/**
 * What is to be written to one side, in order. Neighbouring frames of one chunk that go on unchanged stay one piece, so a
 * chunk in which nothing is held leaves as the very buffer that came in. Owns no socket.
 */

const NOTHING: readonly Buffer[] = [];

/** One per side. Emptied after each event. */
export class Outlet {
  #pieces: Buffer[] = [];
  #run: Buffer | undefined;
  #runStart = 0;
  #runEnd = 0;
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** `buffer[start, end)` goes on as it is. The buffer must not change until it is written. */
  verbatim(buffer: Buffer, start: number, end: number): void {
    this.#bytes += end - start;
    if (this.#run === buffer && this.#runEnd === start) {
      this.#runEnd = end;
      return;
    }
    this.#closeRun();
    this.#run = buffer;
    this.#runStart = start;
    this.#runEnd = end;
  }

  /** Bytes of our own making. */
  own(bytes: Buffer): void {
    this.#closeRun();
    this.#bytes += bytes.length;
    this.#pieces.push(bytes);
  }

  /** Everything since the last `take`. */
  take(): readonly Buffer[] {
    if (this.#bytes === 0) return NOTHING;
    this.#closeRun();
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#bytes = 0;
    return pieces;
  }

  #closeRun(): void {
    const run = this.#run;
    if (run === undefined) return;
    const whole = this.#runStart === 0 && this.#runEnd === run.length;
    this.#pieces.push(whole ? run : run.subarray(this.#runStart, this.#runEnd));
    this.#run = undefined;
  }
}
