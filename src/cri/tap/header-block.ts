/**
 * Puts HEADERS or PUSH_PROMISE and its CONTINUATION frames together (RFC 9113, sections 4.3 and 6.10). A block is decoded and
 * forwarded when it is complete, so nothing of ours can come between its frames.
 */
import type { Frame } from "./frame-reader.ts";
import { Flag, FRAME_HEADER_BYTES, FrameType } from "./frames.ts";
import { malformed, type Side } from "./malformed.ts";
import type { Outlet } from "./outlet.ts";

const FLAGS_OFFSET = 4;
const PRIORITY_BYTES = 5;
const PROMISED_ID_BYTES = 4;
const EMPTY = Buffer.alloc(0);
const NO_FRAMES: readonly Buffer[] = [];

/** One per direction. Its fields describe the block that `add` completed last, until the next `add`. */
export class HeaderBlock {
  readonly #side: Side;
  readonly #maxBytes: number;
  /** The frames of a block that takes several, and what they hold. */
  #frames: Buffer[] = [];
  #fragments: Buffer[] = [];
  #fragmentBytes = 0;
  /** The frames of the completed block: several, or the one. */
  #complete: readonly Buffer[] = NO_FRAMES;
  readonly #single: { buffer: Buffer; start: number; end: number } = { buffer: EMPTY, start: 0, end: 0 };
  streamId = 0;
  endStream = false;
  /** It is of a PUSH_PROMISE: the stream that it came on has no response yet. */
  promises = false;
  /** The HPACK bytes: `bytes[range.start, range.end)`. */
  bytes: Buffer = EMPTY;
  readonly range = { start: 0, end: 0 };

  constructor(side: Side, maxBytes: number) {
    this.#side = side;
    this.#maxBytes = maxBytes;
  }

  /** Throws where a block is open and `frame` does not continue it. */
  checkOrder(frame: Frame): void {
    if (this.#frames.length > 0 && frame.type !== FrameType.continuation) {
      throw malformed(this.#side, "a header block that is not continued");
    }
  }

  /** Takes a HEADERS, PUSH_PROMISE or CONTINUATION frame; true when it completes a block. */
  add(frame: Frame): boolean {
    if (frame.type === FrameType.continuation) return this.#continue(frame);
    if (frame.streamId === 0) throw malformed(this.#side, "a header block on stream 0");
    this.streamId = frame.streamId;
    this.promises = frame.type === FrameType.pushPromise;
    this.endStream = frame.type === FrameType.headers && (frame.flags & Flag.endStream) !== 0;
    this.#setFragment(frame);
    if ((frame.flags & Flag.endHeaders) !== 0) {
      this.#single.buffer = frame.buffer;
      this.#single.start = frame.start;
      this.#single.end = frame.end;
      return true;
    }
    this.#frames = [frame.buffer.subarray(frame.start, frame.end)];
    this.#fragments = [this.bytes.subarray(this.range.start, this.range.end)];
    this.#fragmentBytes = this.range.end - this.range.start;
    return false;
  }

  /** Sends the block's frames on; without END_STREAM where the stream goes on after all. */
  forward(outlet: Outlet, clearEndStream = false): void {
    const { buffer, start, end } = this.#single;
    if (!clearEndStream) {
      if (this.#complete.length === 0) {
        outlet.verbatim(buffer, start, end);
        return;
      }
      for (const frame of this.#complete) outlet.verbatim(frame, 0, frame.length);
      return;
    }
    const frames = this.#complete.length === 0 ? [buffer.subarray(start, end)] : this.#complete;
    const first = Buffer.from(frames[0] as Buffer);
    first[FLAGS_OFFSET] = (first[FLAGS_OFFSET] as number) & ~Flag.endStream;
    outlet.own(first);
    for (const frame of frames.slice(1)) outlet.own(frame);
  }

  #continue(frame: Frame): boolean {
    if (this.#frames.length === 0 || frame.streamId !== this.streamId) {
      throw malformed(this.#side, "a CONTINUATION frame that continues nothing");
    }
    this.#frames.push(frame.buffer.subarray(frame.start, frame.end));
    this.#fragments.push(frame.buffer.subarray(frame.start + FRAME_HEADER_BYTES, frame.end));
    this.#fragmentBytes += frame.length + FRAME_HEADER_BYTES;
    if (this.#fragmentBytes > this.#maxBytes) {
      throw malformed(this.#side, `a header block of more than ${this.#maxBytes} octets`);
    }
    if ((frame.flags & Flag.endHeaders) === 0) return false;
    this.bytes = Buffer.concat(this.#fragments);
    this.range.start = 0;
    this.range.end = this.bytes.length;
    this.#complete = this.#frames;
    this.#frames = [];
    this.#fragments = [];
    return true;
  }

  #setFragment(frame: Frame): void {
    let start = frame.start + FRAME_HEADER_BYTES;
    let end = frame.end;
    if ((frame.flags & Flag.padded) !== 0) end -= frame.buffer[start++] ?? 0;
    if (frame.type === FrameType.pushPromise) start += PROMISED_ID_BYTES;
    else if ((frame.flags & Flag.priority) !== 0) start += PRIORITY_BYTES;
    if (start > end) {
      throw malformed(this.#side, "a header frame shorter than its padding and fields");
    }
    this.bytes = frame.buffer;
    this.range.start = start;
    this.range.end = end;
    this.#complete = NO_FRAMES;
  }
}
