/**
 * Watches one hop of the tap from the tap's own place, for tests: everything that it sends to a peer and receives from it, in
 * order. What it sends must be what an HTTP/2 endpoint in its position may send: windows, header compression, stream states,
 * acknowledgements, GOAWAY. Shares no code with the ledger that it checks.
 */
import { Flag, FrameType, PREFACE, Setting } from "../frames.ts";
import { HpackDecoder } from "../hpack/decoder.ts";
import { FrameCutter, type RawFrame } from "./raw-frames.ts";

interface SentStream {
  window: number;
  ended: boolean;
  reset: boolean;
  /** The peer's half. */
  peerEnded: boolean;
  peerReset: boolean;
}

interface Settings {
  readonly initialWindow: number | undefined;
  readonly headerTable: number | undefined;
  readonly maxFrame: number | undefined;
}

const WINDOW = 65_535;
const MAX_WINDOW = 2 ** 31 - 1;

/** `server`: the tap's side towards the client. `client`: its side towards upstream. */
export type HopRole = "server" | "client";

/** Tell it all that passes; `problems` is what should not have been sent. */
export class HopChecker {
  readonly problems: string[] = [];
  readonly #role: HopRole;
  readonly #sent = new FrameCutter();
  readonly #received = new FrameCutter();
  readonly #streams = new Map<number, SentStream>();
  readonly #hpack = new HpackDecoder();
  /** Peer's SETTINGS that the tap has not acknowledged yet: they bind it from its acknowledgement on. */
  readonly #unacknowledged: Settings[] = [];
  #ownSettings = 0;
  #window = WINDOW;
  #initialWindow = WINDOW;
  #maxFrame = 16_384;
  #tableFloor: number | undefined;
  /** What the peer may send us: it must never be granted more than 2^31-1. */
  #peerWindow = WINDOW;
  #highestId = 0;
  #goawayId = MAX_WINDOW;
  #block: { id: number; endStream: boolean; parts: Buffer[] } | undefined;
  #prefaceLeft: number;
  #peerPrefaceLeft: number;
  #first = true;
  pingsSent = 0;
  pingsReceived = 0;

  /** What may be sent to this peer, and what it may send, on the connection. */
  get windows(): { readonly toPeer: number; readonly fromPeer: number } {
    return { toPeer: this.#window, fromPeer: this.#peerWindow };
  }

  constructor(role: HopRole) {
    this.#role = role;
    this.#prefaceLeft = role === "client" ? PREFACE.length : 0;
    this.#peerPrefaceLeft = role === "server" ? PREFACE.length : 0;
  }

  /** Bytes that the tap received from this peer: to be told before what it sends because of them. */
  received(bytes: Uint8Array): void {
    const skip = Math.min(this.#peerPrefaceLeft, bytes.length);
    this.#peerPrefaceLeft -= skip;
    for (const frame of this.#received.push(bytes.subarray(skip))) this.#onReceived(frame);
  }

  /** Bytes that the tap sends to this peer. */
  sent(bytes: Uint8Array): void {
    const skip = Math.min(this.#prefaceLeft, bytes.length);
    this.#prefaceLeft -= skip;
    for (const frame of this.#sent.push(bytes.subarray(skip))) this.#onSent(frame);
  }

  #fail(what: string): void {
    this.problems.push(`to the ${this.#role === "server" ? "client" : "runtime"}: ${what}`);
  }

  #stream(id: number): SentStream {
    let stream = this.#streams.get(id);
    if (stream === undefined) {
      stream = {
        window: this.#initialWindow,
        ended: false,
        reset: false,
        peerEnded: false,
        peerReset: false,
      };
      this.#streams.set(id, stream);
    }
    return stream;
  }

  #onReceived(frame: RawFrame): void {
    const { type, flags, streamId, payload } = frame;
    const end = (flags & Flag.endStream) !== 0;
    if (type === FrameType.windowUpdate) {
      const increment = payload.length < 4 ? 0 : payload.readUInt32BE(0);
      if (streamId === 0) this.#window += increment;
      else if (this.#streams.has(streamId)) this.#stream(streamId).window += increment;
    } else if (type === FrameType.settings) {
      if ((flags & Flag.ack) === 0) this.#unacknowledged.push(parseSettings(payload));
      else this.#ownSettings--;
      if (this.#ownSettings < 0) this.#fail("the peer acknowledged SETTINGS that were never sent");
    } else if (type === FrameType.data) {
      this.#peerWindow -= payload.length;
      if (end) this.#stream(streamId).peerEnded = true;
    } else if (type === FrameType.headers || type === FrameType.continuation) {
      if (type === FrameType.headers) {
        const stream = this.#stream(streamId);
        if (end) stream.peerEnded = true;
        if (this.#role === "server") this.#highestId = Math.max(this.#highestId, streamId);
      }
    } else if (type === FrameType.rstStream) {
      this.#stream(streamId).peerReset = true;
    } else if (type === FrameType.ping && (flags & Flag.ack) === 0) {
      this.pingsReceived++;
    }
  }

  #onSent(frame: RawFrame): void {
    const { type, flags, streamId, payload } = frame;
    if (this.#first && type !== FrameType.settings) this.#fail("the first frame is not SETTINGS");
    this.#first = false;
    if (payload.length > this.#maxFrame) this.#fail(`a frame of ${payload.length} octets`);
    if (this.#block !== undefined && (type !== FrameType.continuation || streamId !== this.#block.id)) {
      this.#fail("a frame within a header block");
    }
    switch (type) {
      case FrameType.data:
        this.#sentData(frame);
        break;
      case FrameType.headers:
        this.#sentHeaders(frame);
        break;
      case FrameType.continuation:
        this.#block?.parts.push(payload);
        if ((flags & Flag.endHeaders) !== 0) this.#endBlock();
        break;
      case FrameType.rstStream:
        this.#sentReset(streamId);
        break;
      case FrameType.settings:
        this.#sentSettings(frame);
        break;
      case FrameType.windowUpdate:
        this.#sentGrant(streamId, payload.readUInt32BE(0));
        break;
      case FrameType.ping:
        if ((flags & Flag.ack) === 0) this.pingsSent++;
        break;
      case FrameType.goaway:
        this.#sentGoaway(payload.readUInt32BE(0) & MAX_WINDOW);
        break;
      default:
    }
  }

  #sentData({ streamId, flags, payload }: RawFrame): void {
    const stream = this.#open(streamId, "DATA");
    this.#window -= payload.length;
    stream.window -= payload.length;
    if (payload.length > 0 && this.#window < 0)
      this.#fail(`DATA beyond the connection's window (${this.#window})`);
    if (payload.length > 0 && stream.window < 0) this.#fail(`DATA beyond the window of stream ${streamId}`);
    if ((flags & Flag.endStream) !== 0) stream.ended = true;
  }

  #sentHeaders(frame: RawFrame): void {
    const { streamId, flags } = frame;
    const isNew = !this.#streams.has(streamId);
    if (isNew && this.#role === "server") this.#fail(`HEADERS on idle stream ${streamId}`);
    if (isNew && this.#role === "client") {
      if (streamId <= this.#highestId || streamId % 2 === 0)
        this.#fail(`stream ${streamId} opened out of order`);
      this.#highestId = streamId;
    }
    if (this.#role === "server" && streamId > this.#goawayId)
      this.#fail(`HEADERS beyond GOAWAY on ${streamId}`);
    const stream = this.#open(streamId, "HEADERS");
    let start = 0;
    let end = frame.payload.length;
    if ((flags & Flag.padded) !== 0) end -= frame.payload[start++] ?? 0;
    if ((flags & Flag.priority) !== 0) start += 5;
    this.#block = {
      id: streamId,
      endStream: (flags & Flag.endStream) !== 0,
      parts: [frame.payload.subarray(start, end)],
    };
    if (this.#block.endStream) stream.ended = true;
    if ((flags & Flag.endHeaders) !== 0) this.#endBlock();
  }

  #endBlock(): void {
    const block = Buffer.concat(this.#block?.parts ?? []);
    this.#block = undefined;
    if (this.#tableFloor !== undefined && ((block[0] ?? 0) & 0xe0) !== 0x20) {
      this.#fail("a header block without the table size update that is due");
    }
    this.#tableFloor = undefined;
    try {
      this.#hpack.decode(block, { start: 0, end: block.length }, { field: () => undefined });
    } catch (error) {
      this.#fail(`header compression: ${(error as Error).message}`);
    }
  }

  #sentReset(streamId: number): void {
    if (!this.#streams.has(streamId)) this.#fail(`RST_STREAM on idle stream ${streamId}`);
    const stream = this.#stream(streamId);
    if (stream.reset) this.#fail(`a second RST_STREAM on ${streamId}`);
    stream.reset = true;
  }

  #sentSettings({ flags, payload }: RawFrame): void {
    if ((flags & Flag.ack) === 0) {
      this.#ownSettings++;
      return;
    }
    if (payload.length > 0) this.#fail("a SETTINGS acknowledgement with a payload");
    const agreed = this.#unacknowledged.shift();
    if (agreed === undefined) {
      this.#fail("a SETTINGS acknowledgement for nothing");
      return;
    }
    if (agreed.initialWindow !== undefined) {
      for (const stream of this.#streams.values())
        stream.window += agreed.initialWindow - this.#initialWindow;
      this.#initialWindow = agreed.initialWindow;
    }
    this.#maxFrame = Math.max(this.#maxFrame, agreed.maxFrame ?? 0);
    if (agreed.headerTable === undefined) return;
    this.#hpack.setLimit(agreed.headerTable);
    if (agreed.headerTable < this.#hpack.tableMaxBytes) {
      this.#tableFloor = Math.min(agreed.headerTable, this.#tableFloor ?? agreed.headerTable);
    }
  }

  #sentGrant(streamId: number, increment: number): void {
    if (increment === 0) this.#fail("a WINDOW_UPDATE of 0");
    if (streamId === 0) {
      this.#peerWindow += increment;
      if (this.#peerWindow > MAX_WINDOW) this.#fail("a connection window above 2^31-1");
    } else if (!this.#streams.has(streamId)) {
      this.#fail(`WINDOW_UPDATE on idle stream ${streamId}`);
    } else if (this.#stream(streamId).reset) {
      this.#fail(`WINDOW_UPDATE after RST_STREAM on ${streamId}`);
    }
  }

  #sentGoaway(lastId: number): void {
    if (lastId > this.#goawayId) this.#fail(`GOAWAY(${lastId}) after GOAWAY(${this.#goawayId})`);
    this.#goawayId = lastId;
  }

  /** A stream that DATA or HEADERS may still be sent on. What crosses the peer's reset is its to ignore. */
  #open(streamId: number, what: string): SentStream {
    const stream = this.#stream(streamId);
    if (stream.ended) this.#fail(`${what} after END_STREAM on ${streamId}`);
    if (stream.reset) this.#fail(`${what} after RST_STREAM on ${streamId}`);
    return stream;
  }

  /** What must hold when both sides are at rest. */
  atRest(): void {
    if (this.#sent.pendingBytes > 0) this.#fail("half a frame");
    if (this.#unacknowledged.length > 0) this.#fail("SETTINGS that were never acknowledged");
    for (const [id, stream] of this.#streams) {
      const over = stream.reset || stream.peerReset || (stream.ended && stream.peerEnded);
      if (!over) this.#fail(`stream ${id} never ended`);
    }
  }
}

function parseSettings(payload: Buffer): Settings {
  const found = new Map<number, number>();
  for (let at = 0; at + 6 <= payload.length; at += 6)
    found.set(payload.readUInt16BE(at), payload.readUInt32BE(at + 2));
  return {
    initialWindow: found.get(Setting.initialWindowSize),
    headerTable: found.get(Setting.headerTableSize),
    maxFrame: found.get(Setting.maxFrameSize),
  };
}
