/** Reads DATA and WINDOW_UPDATE frames (RFC 9113, sections 6.1 and 6.9). */
import type { Frame } from "./frame-reader.ts";
import { Flag, FRAME_HEADER_BYTES } from "./frames.ts";
import { malformed, type Side } from "./malformed.ts";

/** Where the payload of a DATA frame lies in `frame.buffer`, without padding. Filled anew for each frame. */
export class DataPayload {
  frame: Frame;
  start = 0;
  end = 0;
  endStream = false;
  readonly #side: Side;

  constructor(side: Side, frame: Frame) {
    this.#side = side;
    this.frame = frame;
  }

  read(frame: Frame): this {
    if (frame.streamId === 0) throw malformed(this.#side, "DATA on stream 0");
    this.frame = frame;
    this.endStream = (frame.flags & Flag.endStream) !== 0;
    this.start = frame.start + FRAME_HEADER_BYTES;
    this.end = frame.end;
    if ((frame.flags & Flag.padded) === 0) return this;
    this.end -= frame.buffer[this.start] ?? 0;
    this.start += 1;
    if (frame.length === 0 || this.end < this.start)
      throw malformed(this.#side, "DATA shorter than its padding");
    return this;
  }
}

/** The increment of a WINDOW_UPDATE frame. */
export function windowIncrement(side: Side, frame: Frame): number {
  if (frame.length !== 4) throw malformed(side, `a WINDOW_UPDATE frame of ${frame.length} octets`);
  return frame.buffer.readUInt32BE(frame.start + FRAME_HEADER_BYTES) & 0x7fff_ffff;
}
