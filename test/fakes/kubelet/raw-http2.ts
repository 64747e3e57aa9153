/**
 * A hand-framed HTTP/2 client for unary gRPC calls. Node's own client refuses to send an `:authority` with a slash,
 * which kubelets up to 1.28 send (the raw path of the socket); this one sends whatever it is told.
 */
import { connect, type Socket } from "node:net";
import { createHeaderDecoder, encodeHeaders, type Header } from "./raw-hpack.ts";

const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER_BYTES = 9;
const MAX_FRAME_BYTES = 16_384;
const RECEIVE_WINDOW = 0x7fff_ffff;
const DEFAULT_WINDOW = 65_535;

const frameType = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  window: 8,
  continuation: 9,
};
const flag = { ack: 1, endStream: 1, endHeaders: 4, padded: 8, priority: 0x20 };
const setting = { headerTableSize: 1, initialWindowSize: 4 };
const CANCEL = 8;

export interface RawRequest {
  /** In order, pseudo-headers first. */
  readonly headers: readonly Header[];
  /** The request's DATA, framed for gRPC already. */
  readonly body: Uint8Array;
  readonly signal?: AbortSignal;
}

export interface RawResponse {
  /** Of all header blocks: the trailers' entries come last. */
  readonly headers: readonly Header[];
  readonly body: Buffer;
  /** The error code of an RST_STREAM; undefined where the stream ended by itself. */
  readonly reset: number | undefined;
}

export interface RawConnection {
  /** Rejects if the connection ends first. */
  request(request: RawRequest): Promise<RawResponse>;
  /** Error code and text of a GOAWAY, if one came. */
  readonly goaway: { readonly code: number; readonly debug: string } | undefined;
  close(): void;
}

export interface RawOptions {
  readonly path: string;
  /** SETTINGS_HEADER_TABLE_SIZE, announced if it is not the default. */
  readonly headerTableSize?: number;
}

interface Stream {
  headers: Header[];
  body: Buffer[];
  settle(reset: number | undefined): void;
  fail(error: Error): void;
}

interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

function frame({ type, flags, streamId, payload }: Frame): Buffer {
  const header = Buffer.alloc(FRAME_HEADER_BYTES);
  header.writeUIntBE(payload.length, 0, 3);
  header.writeUInt8(type, 3);
  header.writeUInt8(flags, 4);
  header.writeUInt32BE(streamId, 5);
  return Buffer.concat([header, payload]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function settings(values: readonly (readonly [id: number, value: number])[]): Buffer {
  return Buffer.concat(values.flatMap(([id, value]) => [Buffer.of(id >> 8, id), uint32(value)]));
}

/** Connects, sends the preface and opens the receive windows as wide as they go. */
export async function connectRaw({ path, headerTableSize }: RawOptions): Promise<RawConnection> {
  const socket = connect({ path });
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  const ours: (readonly [number, number])[] = [[setting.initialWindowSize, RECEIVE_WINDOW]];
  if (headerTableSize !== undefined) ours.push([setting.headerTableSize, headerTableSize]);
  socket.write(PREFACE);
  send(socket, { type: frameType.settings, payload: settings(ours) });
  send(socket, { type: frameType.window, payload: uint32(RECEIVE_WINDOW - DEFAULT_WINDOW) });
  return createConnection(socket, headerTableSize ?? 4096);
}

function send(
  socket: Socket,
  { type, flags = 0, streamId = 0, payload = Buffer.alloc(0) }: Partial<Frame>,
): void {
  if (type === undefined || socket.destroyed) return;
  socket.write(frame({ type, flags, streamId, payload }));
}

function createConnection(socket: Socket, headerTableSize: number): RawConnection {
  const streams = new Map<number, Stream>();
  const state = { nextId: 1, window: DEFAULT_WINDOW, goaway: undefined as RawConnection["goaway"] };
  const failAll = (error: Error) => {
    for (const stream of streams.values()) stream.fail(error);
    streams.clear();
  };
  const receive = createReceiver({
    socket,
    streams,
    decode: createHeaderDecoder(headerTableSize),
    onWindow: (increment) => {
      state.window += increment;
    },
    onGoaway: (goaway) => {
      state.goaway = goaway;
    },
  });
  let buffered = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => {
    buffered = Buffer.concat([buffered, chunk]);
    try {
      buffered = takeFrames(buffered, receive);
    } catch (error) {
      failAll(error as Error);
      socket.destroy();
    }
  });
  socket.on("error", failAll);
  socket.on("close", () => failAll(new Error("the server closed the connection")));
  return {
    request: (request) => {
      const streamId = state.nextId;
      state.nextId += 2;
      state.window -= request.body.length;
      return startStream({ socket, streams, streamId, window: state.window }, request);
    },
    get goaway() {
      return state.goaway;
    },
    close: () => socket.destroy(),
  };
}

function startStream(
  connection: { socket: Socket; streams: Map<number, Stream>; streamId: number; window: number },
  { headers, body, signal }: RawRequest,
): Promise<RawResponse> {
  const { socket, streams, streamId, window } = connection;
  return new Promise((resolve, reject) => {
    if (body.length > DEFAULT_WINDOW || window < 0) {
      reject(new Error(`the raw client does not wait for flow control: ${body.length} bytes are too many`));
      return;
    }
    const stream: Stream = {
      headers: [],
      body: [],
      settle(reset) {
        streams.delete(streamId);
        resolve({ headers: stream.headers, body: Buffer.concat(stream.body), reset });
      },
      fail: reject,
    };
    streams.set(streamId, stream);
    signal?.addEventListener("abort", () => {
      if (!streams.has(streamId)) return;
      send(socket, { type: frameType.reset, streamId, payload: uint32(CANCEL) });
      stream.settle(CANCEL);
    });
    const block = encodeHeaders(headers);
    send(socket, { type: frameType.headers, flags: flag.endHeaders, streamId, payload: block });
    for (let at = 0; at < body.length; at += MAX_FRAME_BYTES) {
      const payload = Buffer.from(body.subarray(at, at + MAX_FRAME_BYTES));
      const flags = at + MAX_FRAME_BYTES >= body.length ? flag.endStream : 0;
      send(socket, { type: frameType.data, flags, streamId, payload });
    }
  });
}

/** Hands over every whole frame and gives back what is left. */
function takeFrames(bytes: Buffer, receive: (frame: Frame) => void): Buffer<ArrayBuffer> {
  let at = 0;
  while (bytes.length - at >= FRAME_HEADER_BYTES) {
    const length = bytes.readUIntBE(at, 3);
    const end = at + FRAME_HEADER_BYTES + length;
    if (bytes.length < end) break;
    receive({
      type: bytes.readUInt8(at + 3),
      flags: bytes.readUInt8(at + 4),
      streamId: bytes.readUInt32BE(at + 5) & 0x7fff_ffff,
      payload: bytes.subarray(at + FRAME_HEADER_BYTES, end),
    });
    at = end;
  }
  return Buffer.from(bytes.subarray(at));
}

interface Receiver {
  readonly socket: Socket;
  readonly streams: ReadonlyMap<number, Stream>;
  readonly decode: (block: Buffer) => Header[];
  onWindow(increment: number): void;
  onGoaway(goaway: { code: number; debug: string }): void;
}

function createReceiver({ socket, streams, decode, onWindow, onGoaway }: Receiver): (frame: Frame) => void {
  /** A header block whose END_HEADERS has not come yet. */
  let open: { block: Buffer; endStream: boolean } | undefined;
  const endOfHeaders = (streamId: number) => {
    if (!open) throw new Error("a CONTINUATION without HEADERS");
    // Also for a stream that is gone: the table must stay in step.
    const headers = decode(open.block);
    const { endStream } = open;
    open = undefined;
    const stream = streams.get(streamId);
    stream?.headers.push(...headers);
    if (endStream) stream?.settle(undefined);
  };
  return ({ type, flags, streamId, payload }) => {
    const stream = streams.get(streamId);
    switch (type) {
      case frameType.data:
        stream?.body.push(unpad(payload, flags));
        if (flags & flag.endStream) stream?.settle(undefined);
        if (payload.length > 0) send(socket, { type: frameType.window, payload: uint32(payload.length) });
        break;
      case frameType.headers:
      case frameType.continuation: {
        const endStream = open?.endStream ?? (flags & flag.endStream) !== 0;
        const part = type === frameType.headers ? unpad(payload, flags) : payload;
        open = { block: Buffer.concat([open?.block ?? Buffer.alloc(0), part]), endStream };
        if (flags & flag.endHeaders) endOfHeaders(streamId);
        break;
      }
      case frameType.reset:
        stream?.settle(payload.readUInt32BE(0));
        break;
      case frameType.settings:
        if (!(flags & flag.ack)) send(socket, { type: frameType.settings, flags: flag.ack });
        break;
      case frameType.ping:
        if (!(flags & flag.ack)) send(socket, { type: frameType.ping, flags: flag.ack, payload });
        break;
      case frameType.goaway:
        onGoaway({ code: payload.readUInt32BE(4), debug: payload.subarray(8).toString() });
        break;
      case frameType.window:
        if (streamId === 0) onWindow(payload.readUInt32BE(0));
        break;
    }
  };
}

/** The content of a DATA or HEADERS frame without padding and priority. */
function unpad(payload: Buffer, flags: number): Buffer {
  const padded = (flags & flag.padded) !== 0;
  const start = (padded ? 1 : 0) + (flags & flag.priority ? 5 : 0);
  const end = payload.length - (padded ? payload.readUInt8(0) : 0);
  return payload.subarray(start, end);
}
