/** HTTP/2 frames (RFC 9113, sections 4 and 6): their numbers, and writers for the few that the tap sends itself. */

/** Length, type, flags and stream of every frame (RFC 9113, section 4.1). */
export const FRAME_HEADER_BYTES = 9;
/** What every peer accepts (RFC 9113, section 4.2); frames of ours are never larger. */
export const OWN_FRAME_BYTES = 16_384;
/** Of a connection, and of a stream until SETTINGS say otherwise (section 6.9.2). */
export const DEFAULT_WINDOW_BYTES = 65_535;
/** As a last stream it accepts them all; also the mask of a stream's 31 bits. */
export const MAX_STREAM_ID = 0x7fff_ffff;

/** What a client sends before its first frame (section 3.4). */
export const PREFACE: Buffer = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** Section 6; types beyond these are passed on unread. */
export const FrameType = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

/** By meaning: the same bit is END_STREAM on one type and ACK on another. */
export const Flag = { endStream: 0x1, ack: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const;

/** Those that the tap must follow (section 6.5.2). */
export const Setting = { headerTableSize: 1, initialWindowSize: 4, maxFrameSize: 5 } as const;

/** Error codes of RST_STREAM and GOAWAY (RFC 9113, section 7). */
export const ErrorCode = {
  noError: 0,
  protocolError: 1,
  internalError: 2,
  refusedStream: 7,
  cancel: 8,
  compressionError: 9,
} as const;

interface Head {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly length: number;
}

/** Writes a frame header at `at`; returns where the payload starts. */
export function writeHead(into: Buffer, head: Head, at = 0): number {
  into[at] = head.length >>> 16;
  into[at + 1] = head.length >>> 8;
  into[at + 2] = head.length;
  into[at + 3] = head.type;
  into[at + 4] = head.flags;
  into.writeUInt32BE(head.streamId, at + 5);
  return at + FRAME_HEADER_BYTES;
}

function newFrame(head: Head): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + head.length);
  writeHead(frame, head);
  return frame;
}

/** Credit of `increment` octets (1 to 2^31-1); stream 0 is the connection. */
export function windowUpdateFrame(streamId: number, increment: number): Buffer {
  const frame = newFrame({ type: FrameType.windowUpdate, flags: 0, streamId, length: 4 });
  frame.writeUInt32BE(increment, FRAME_HEADER_BYTES);
  return frame;
}

/** Ends one stream at once. */
export function rstStreamFrame(streamId: number, code: number): Buffer {
  const frame = newFrame({ type: FrameType.rstStream, flags: 0, streamId, length: 4 });
  frame.writeUInt32BE(code, FRAME_HEADER_BYTES);
  return frame;
}

/** No stream above `lastStreamId` is or will be served. */
export function goawayFrame(lastStreamId: number, code: number): Buffer {
  const frame = newFrame({ type: FrameType.goaway, flags: 0, streamId: 0, length: 8 });
  frame.writeUInt32BE(lastStreamId, FRAME_HEADER_BYTES);
  frame.writeUInt32BE(code, FRAME_HEADER_BYTES + 4);
  return frame;
}

/** `payload` is eight octets. */
export function pingFrame(payload: Uint8Array, ack: boolean): Buffer {
  const frame = newFrame({ type: FrameType.ping, flags: ack ? Flag.ack : 0, streamId: 0, length: 8 });
  frame.set(payload, FRAME_HEADER_BYTES);
  return frame;
}

/** An empty SETTINGS frame: no change, but it must be acknowledged. */
export function settingsFrame(ack: boolean): Buffer {
  return newFrame({ type: FrameType.settings, flags: ack ? Flag.ack : 0, streamId: 0, length: 0 });
}

/** The header of a DATA frame whose payload follows in other buffers. */
export function dataHead(streamId: number, length: number, endStream: boolean): Buffer {
  const head = Buffer.allocUnsafe(FRAME_HEADER_BYTES);
  writeHead(head, { type: FrameType.data, flags: endStream ? Flag.endStream : 0, streamId, length });
  return head;
}

/** A complete header block that ends its stream. `block` fits one frame. */
export function trailersFrame(streamId: number, block: Uint8Array): Buffer {
  const flags = Flag.endHeaders | Flag.endStream;
  const frame = newFrame({ type: FrameType.headers, flags, streamId, length: block.length });
  frame.set(block, FRAME_HEADER_BYTES);
  return frame;
}
