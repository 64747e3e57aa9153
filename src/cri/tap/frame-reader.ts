/**
 * Cuts a byte stream into whole HTTP/2 frames, whatever its chunks. A frame within one chunk is handed on in place; only one
 * that spans chunks is copied, once. Knows lengths and the preface, not what frames mean.
 */
import { FRAME_HEADER_BYTES, PREFACE } from "./frames.ts";
import { malformed, type Side } from "./malformed.ts";

/** A frame in place: `buffer[start, end)`, header included. One object is used for all: valid during the call only. */
export interface Frame {
  readonly buffer: Buffer;
  readonly start: number;
  readonly end: number;
  /** Octets of the payload. */
  readonly length: number;
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
}

/** Who gets the frames of one side. What it throws comes out of `push`. */
export interface FrameSink {
  /** The client's connection preface is complete. */
  onPreface(): void;
  onFrame(frame: Frame): void;
  /** The largest payload that this side may send. */
  maxPayloadBytes(): number;
}

/** Stands where no frame was read yet. */
export const NO_FRAME: Frame = {
  buffer: Buffer.alloc(0),
  start: 0,
  end: 0,
  length: 0,
  type: 0,
  flags: 0,
  streamId: 0,
};

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const EMPTY = Buffer.alloc(0);

/** One per side of a connection. After an error it is not to be used again. */
export class FrameReader {
  readonly #side: Side;
  readonly #sink: FrameSink;
  readonly #frame: Mutable<Frame> = { ...NO_FRAME };
  /** Octets of the preface still to come. */
  #prefaceLeft: number;
  /** The frame that began in an earlier chunk: first its header alone, then the whole of it. */
  #partial: Buffer = EMPTY;
  readonly #head = Buffer.alloc(FRAME_HEADER_BYTES);
  #have = 0;
  #stopped = false;

  constructor(side: Side, sink: FrameSink) {
    this.#side = side;
    this.#sink = sink;
    this.#prefaceLeft = side === "client" ? PREFACE.length : 0;
  }

  /** Nothing more is handed on, not even from the chunk at hand. */
  stop(): void {
    this.#stopped = true;
    this.#partial = EMPTY;
  }

  /** Throws `malformed`. The reader keeps no reference to `chunk`. */
  push(chunk: Buffer): void {
    let at = this.#prefaceLeft > 0 ? this.#preface(chunk) : 0;
    if (this.#have > 0) at = this.#continuePartial(chunk, at);
    while (!this.#stopped && chunk.length - at >= FRAME_HEADER_BYTES) {
      const end = at + FRAME_HEADER_BYTES + this.#payloadBytes(chunk, at);
      if (end > chunk.length) break;
      this.#emit(chunk, at, end);
      at = end;
    }
    if (!this.#stopped && at < chunk.length) this.#startPartial(chunk, at);
  }

  #preface(chunk: Buffer): number {
    const from = PREFACE.length - this.#prefaceLeft;
    const octets = Math.min(this.#prefaceLeft, chunk.length);
    if (PREFACE.compare(chunk, 0, octets, from, from + octets) !== 0) {
      this.stop();
      throw malformed(this.#side, "no HTTP/2 connection preface");
    }
    this.#prefaceLeft -= octets;
    if (this.#prefaceLeft === 0) this.#sink.onPreface();
    return octets;
  }

  #payloadBytes(buffer: Buffer, at: number): number {
    const length =
      ((buffer[at] as number) << 16) | ((buffer[at + 1] as number) << 8) | (buffer[at + 2] as number);
    if (length > this.#sink.maxPayloadBytes()) {
      throw malformed(
        this.#side,
        `a frame of ${length} octets where ${this.#sink.maxPayloadBytes()} are allowed`,
      );
    }
    return length;
  }

  #emit(buffer: Buffer, start: number, end: number): void {
    const frame = this.#frame;
    frame.buffer = buffer;
    frame.start = start;
    frame.end = end;
    frame.length = end - start - FRAME_HEADER_BYTES;
    frame.type = buffer[start + 3] as number;
    frame.flags = buffer[start + 4] as number;
    frame.streamId = buffer.readUInt32BE(start + 5) & 0x7fff_ffff;
    this.#sink.onFrame(frame);
  }

  #startPartial(chunk: Buffer, at: number): void {
    this.#have = chunk.length - at;
    if (this.#have < FRAME_HEADER_BYTES) {
      this.#partial = this.#head;
    } else {
      this.#partial = Buffer.allocUnsafe(FRAME_HEADER_BYTES + this.#payloadBytes(chunk, at));
    }
    chunk.copy(this.#partial, 0, at);
  }

  /** Adds octets to the frame begun earlier; returns where the rest of the chunk starts. */
  #continuePartial(chunk: Buffer, from: number): number {
    let at = from;
    if (this.#partial === this.#head) {
      at += this.#fill(chunk, at);
      if (this.#have < FRAME_HEADER_BYTES) return at;
      this.#partial = Buffer.allocUnsafe(FRAME_HEADER_BYTES + this.#payloadBytes(this.#head, 0));
      this.#head.copy(this.#partial);
    }
    at += this.#fill(chunk, at);
    if (this.#have < this.#partial.length) return at;
    const whole = this.#partial;
    this.#partial = EMPTY;
    this.#have = 0;
    this.#emit(whole, 0, whole.length);
    return at;
  }

  #fill(chunk: Buffer, at: number): number {
    const octets = Math.min(this.#partial.length - this.#have, chunk.length - at);
    chunk.copy(this.#partial, this.#have, at, at + octets);
    this.#have += octets;
    return octets;
  }
}
