/** Frames written by hand, for tests: any type, flags, padding and priority, and a plain way of cutting bytes into frames. */
import { Flag, FRAME_HEADER_BYTES, FrameType, writeHead } from "../frames.ts";
import { encodeBlock } from "../hpack/encoder.ts";

/** A frame taken apart. */
export interface RawFrame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

/** Any frame at all, well formed or not. */
export function rawFrame(
  type: number,
  flags: number,
  body: { streamId?: number; payload?: Uint8Array } = {},
): Buffer {
  const payload = body.payload ?? Buffer.alloc(0);
  const frame = Buffer.alloc(FRAME_HEADER_BYTES + payload.length);
  writeHead(frame, { type, flags, streamId: body.streamId ?? 0, length: payload.length });
  frame.set(payload, FRAME_HEADER_BYTES);
  return frame;
}

/** SETTINGS by number. */
export function settings(entries: Readonly<Record<number, number>> = {}): Buffer {
  const payload = Buffer.alloc(Object.keys(entries).length * 6);
  Object.entries(entries).forEach(([id, value], at) => {
    payload.writeUInt16BE(Number(id), at * 6);
    payload.writeUInt32BE(value, at * 6 + 2);
  });
  return rawFrame(FrameType.settings, 0, { payload });
}

export const settingsAck: Buffer = rawFrame(FrameType.settings, Flag.ack);

type Fields = readonly (readonly [string, string])[];

/** A header block in one frame, without any indexing. */
export function headers(streamId: number, fields: Fields, endStream = false): Buffer {
  const flags = Flag.endHeaders | (endStream ? Flag.endStream : 0);
  return rawFrame(FrameType.headers, flags, { streamId, payload: encodeBlock(fields) });
}

/** The headers of a gRPC request. */
export function request(streamId: number, path: string, more: Fields = []): Buffer {
  return headers(streamId, [
    [":method", "POST"],
    [":scheme", "http"],
    [":path", path],
    [":authority", "localhost"],
    ["content-type", "application/grpc"],
    ["te", "trailers"],
    ...more,
  ]);
}

/** The headers of a gRPC response. */
export function responseHead(streamId: number): Buffer {
  return headers(streamId, [
    [":status", "200"],
    ["content-type", "application/grpc"],
  ]);
}

/** The end of a gRPC response. */
export function trailers(streamId: number, status: number): Buffer {
  return headers(streamId, [["grpc-status", String(status)]], true);
}

/** DATA; with `padding` octets of padding where that is not negative. */
export function data(streamId: number, bytes: Uint8Array, { endStream = false, padding = -1 } = {}): Buffer {
  const end = endStream ? Flag.endStream : 0;
  if (padding < 0) return rawFrame(FrameType.data, end, { streamId, payload: bytes });
  const payload = Buffer.concat([Buffer.from([padding]), bytes, Buffer.alloc(padding)]);
  return rawFrame(FrameType.data, end | Flag.padded, { streamId, payload });
}

export function number32(type: number, streamId: number, value: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(value);
  return rawFrame(type, 0, { streamId, payload });
}

export const windowUpdate = (streamId: number, increment: number): Buffer =>
  number32(FrameType.windowUpdate, streamId, increment);

export const reset = (streamId: number, code = 8): Buffer => number32(FrameType.rstStream, streamId, code);

/** A gRPC message: its prefix and bytes. */
export function message(bytes: Uint8Array, compressed = 0): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = compressed;
  prefix.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([prefix, bytes]);
}

/** Cuts a growing stream of bytes into frames; independent of the reader under test. */
export class FrameCutter {
  #rest: Buffer = Buffer.alloc(0);

  push(bytes: Uint8Array): RawFrame[] {
    this.#rest = this.#rest.length === 0 ? Buffer.from(bytes) : Buffer.concat([this.#rest, bytes]);
    const frames: RawFrame[] = [];
    let at = 0;
    while (this.#rest.length - at >= FRAME_HEADER_BYTES) {
      const length = this.#rest.readUIntBE(at, 3);
      const end = at + FRAME_HEADER_BYTES + length;
      if (end > this.#rest.length) break;
      frames.push({
        type: this.#rest.readUInt8(at + 3),
        flags: this.#rest.readUInt8(at + 4),
        streamId: this.#rest.readUInt32BE(at + 5) & 0x7fff_ffff,
        payload: this.#rest.subarray(at + FRAME_HEADER_BYTES, end),
      });
      at = end;
    }
    this.#rest = this.#rest.subarray(at);
    return frames;
  }

  /** Octets of a frame that is not complete. */
  get pendingBytes(): number {
    return this.#rest.length;
  }
}
