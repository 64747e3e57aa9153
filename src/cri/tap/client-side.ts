/** What the client sends: requests, their DATA, resets. Everything goes on as it came except what the rules of a stream stop. */
import { DataPayload } from "./data-frame.ts";
import { denyStream } from "./denial.ts";
import { isDrainAck, onDrainAck } from "./drain.ts";
import { type Frame, type FrameSink, NO_FRAME } from "./frame-reader.ts";
import { ErrorCode, FrameType, PREFACE, rstStreamFrame } from "./frames.ts";
import { parseTimeout } from "./grpc-timeout.ts";
import type { HeaderBlock } from "./header-block.ts";
import { holdData, MORE_THAN_ONE } from "./hold.ts";
import type { FieldSink } from "./hpack/decoder.ts";
import { settleStream } from "./ledger.ts";
import { malformed } from "./malformed.ts";
import { internal } from "./message.ts";
import { ObservedResponse } from "./observed-response.ts";
import { passData } from "./sender.ts";
import { onClientSettings } from "./settings.ts";
import { endByClient, endByReset } from "./stream-end.ts";
import type { TapState } from "./tap-state.ts";
import { Mode, TapStream } from "./tap-stream.ts";

/** The fields of a request that the tap reads. */
export class RequestFields implements FieldSink {
  path = "";
  encoding = "identity";
  hasLength = false;
  timeoutMs: number | undefined;

  clear(): void {
    this.path = "";
    this.timeoutMs = undefined;
    this.encoding = "identity";
    this.hasLength = false;
  }

  field(name: string, value: string): void {
    // Two of them are malformed, and match no method: what is decided on must be what the runtime goes by.
    if (name === ":path") this.path = this.path === "" ? value : `${this.path} ${value}`;
    else if (name === "grpc-encoding") this.encoding = value;
    else if (name === "grpc-timeout") this.timeoutMs = parseTimeout(value);
    else this.hasLength = true;
  }
}

/** Asks the hooks about a new request and enters it in the books. If it is denied, its `denial` is for the caller to act on. */
export function openStream(tap: TapState, block: HeaderBlock, fields: RequestFields): TapStream {
  if (tap.streams.size >= tap.deps.limits.maxStreams) {
    throw malformed("client", `more than ${tap.deps.limits.maxStreams} streams at once`);
  }
  const stream = new TapStream(block.streamId, tap.initialWindowBytes, tap.deps.nowMs());
  stream.encoding = fields.encoding;
  stream.hasLength = fields.hasLength;
  stream.clientEnded = block.endStream;
  tap.streams.set(stream.id, stream);
  const { connectionId, listener } = tap.deps;
  const path = fields.path.startsWith("/") ? fields.path : `/${fields.path}`;
  const { timeoutMs } = fields;
  const asked = tap.deps.hooks.onRequest({ streamId: stream.id, path, connectionId, listener, timeoutMs });
  stream.call = asked.call;
  stream.denial = asked.deny;
  if (asked.observeResponse === true && asked.call?.onResponse !== undefined)
    stream.observed = new ObservedResponse();
  if (asked.hold && !block.endStream) {
    stream.mode = Mode.hold;
    tap.everHeld = true;
  }
  return stream;
}

/** Deals with each frame of a client whose runtime is there. Throws `malformed` and `hpackError`. */
export class ClientSide implements FrameSink {
  readonly #tap: TapState;
  readonly #block: HeaderBlock;
  readonly #fields = new RequestFields();
  readonly #payload = new DataPayload("client", NO_FRAME);

  constructor(tap: TapState) {
    this.#tap = tap;
    this.#block = tap.requestBlock;
  }

  maxPayloadBytes(): number {
    return this.#tap.upstreamMaxFrameBytes;
  }

  onPreface(): void {
    this.#tap.toUpstream.own(PREFACE);
  }

  onFrame(frame: Frame): void {
    const tap = this.#tap;
    if (!tap.clientSettingsSeen && frame.type !== FrameType.settings) {
      throw malformed("client", "it does not begin with SETTINGS");
    }
    this.#block.checkOrder(frame);
    switch (frame.type) {
      case FrameType.data:
        this.#data(frame);
        return;
      case FrameType.headers:
      case FrameType.continuation:
        if (this.#block.add(frame)) this.#headers();
        return;
      case FrameType.rstStream:
        this.#reset(frame);
        return;
      case FrameType.settings:
        onClientSettings(tap, frame);
        return;
      case FrameType.windowUpdate:
        this.#windowUpdate(frame);
        return;
      case FrameType.ping:
        if (isDrainAck(tap, frame)) {
          onDrainAck(tap);
          return;
        }
        break;
      case FrameType.pushPromise:
        throw malformed("client", "PUSH_PROMISE from a client");
      default: // PRIORITY, GOAWAY, and types that no one has invented yet
    }
    tap.toUpstream.verbatim(frame.buffer, frame.start, frame.end);
  }

  #headers(): void {
    const tap = this.#tap;
    const block = this.#block;
    if (block.streamId % 2 === 0) throw malformed("client", `HEADERS on stream ${block.streamId}`);
    // The block is decoded whatever becomes of its stream: the next one builds on its table.
    const known = block.streamId <= tap.highestStreamId;
    this.#fields.clear();
    tap.requestDecoder.decode(block.bytes, block.range, this.#fields);
    if (known) {
      this.#trailers();
      return;
    }
    if (block.streamId > tap.goawayId) {
      this.#crossing();
      return;
    }
    tap.highestStreamId = block.streamId;
    block.forward(tap.toUpstream); // before anything is asked: what a hook does cannot reorder blocks
    try {
      const stream = openStream(tap, block, this.#fields);
      // A request without a body is complete with its headers, and there is nothing to hold.
      if (stream.clientEnded) stream.requestDoneMs = stream.startMs;
      if (stream.denial !== undefined) denyStream(tap, stream, stream.denial);
    } catch (error) {
      const stream = tap.streams.get(block.streamId);
      if (stream === undefined) throw error; // not a hook's: a limit
      tap.deps.onHookError(error, "onRequest");
      denyStream(tap, stream, internal("a bug in deciding on this call: see the log"));
    }
  }

  /** A stream that crossed a GOAWAY. Upstream passes over what its own has left out, so that may go on as it came. */
  #crossing(): void {
    const tap = this.#tap;
    const passes = tap.drain === "no" && !tap.everHeld && this.#isLeftAlone();
    if (!passes) {
      this.#refuse();
      return;
    }
    tap.highestStreamId = this.#block.streamId;
    this.#block.forward(tap.toUpstream);
  }

  /** Whether the hooks want nothing of a call that is over before it began. */
  #isLeftAlone(): boolean {
    const tap = this.#tap;
    let leftAlone = false;
    try {
      const { mode, denial } = openStream(tap, this.#block, this.#fields);
      leftAlone = mode === Mode.pass && denial === undefined;
    } catch (error) {
      if (!tap.streams.has(this.#block.streamId)) throw error; // not a hook's: a limit
      tap.deps.onHookError(error, "onRequest");
    }
    const stream = tap.streams.get(this.#block.streamId);
    if (stream !== undefined) endByReset(tap, stream, "upstream");
    return leftAlone;
  }

  /** Its block must go on for HPACK's sake, but the call was never accepted. */
  #refuse(): void {
    const { toUpstream, toClient } = this.#tap;
    const { streamId } = this.#block;
    this.#tap.highestStreamId = streamId;
    this.#tap.everHeld = true; // its DATA must not reach upstream either
    this.#block.forward(toUpstream, true);
    toUpstream.own(rstStreamFrame(streamId, ErrorCode.cancel));
    toClient.own(rstStreamFrame(streamId, ErrorCode.refusedStream));
  }

  /** A second header block of the client ends its stream. gRPC has no request trailers, so a held stream may not either. */
  #trailers(): void {
    const tap = this.#tap;
    const block = this.#block;
    const stream = tap.streams.get(block.streamId);
    if (stream === undefined || stream.clientEnded) {
      block.forward(tap.toUpstream);
      return;
    }
    if (!block.endStream) throw malformed("client", "request trailers without END_STREAM");
    stream.clientEnded = true;
    // END_STREAM must not overtake queued DATA, and a header block must not wait for it.
    const decided = stream.mode === Mode.pass && stream.queuedBytes === 0;
    block.forward(tap.toUpstream, !decided);
    if (decided) stream.requestDoneMs = tap.deps.nowMs();
    else if (stream.mode < Mode.fenced)
      denyStream(tap, stream, internal("request trailers, which gRPC does not have"));
    endByClient(tap, stream);
  }

  /** What becomes of request bytes is up to the mode of their stream. */
  #data(frame: Frame): void {
    const tap = this.#tap;
    const data = this.#payload.read(frame);
    // Flow control counts padding, calls do not (RFC 9113, section 6.9.1).
    tap.connCli -= frame.length;
    const stream = tap.streams.get(frame.streamId);
    if (stream === undefined || stream.clientEnded) {
      this.#strayData(frame);
      return;
    }
    stream.cli -= frame.length;
    stream.requestBytes += data.end - data.start;
    stream.clientEnded = data.endStream;
    if (stream.mode === Mode.pass) passData(tap, stream, data);
    else if (stream.mode === Mode.hold) holdData(tap, stream, data);
    else if (stream.mode >= Mode.fenced) settleStream(tap, stream);
    else if (data.end > data.start) denyStream(tap, stream, internal(MORE_THAN_ONE));
    else if (stream.mode === Mode.released) passData(tap, stream, data);
    else settleStream(tap, stream); // pending: its END_STREAM is in the books
    if (data.endStream) endByClient(tap, stream);
  }

  /** DATA of a stream that is over. It goes on only where the tap has never held anything back. */
  #strayData(frame: Frame): void {
    const tap = this.#tap;
    if (tap.everHeld || frame.length > tap.connUp) return;
    tap.connUp -= frame.length;
    tap.toUpstream.verbatim(frame.buffer, frame.start, frame.end);
  }

  /** The client gives a call up: what is held of it is dropped, and the connection's ledger settled with the event. */
  #reset(frame: Frame): void {
    const tap = this.#tap;
    if (frame.length !== 4 || frame.streamId === 0) throw malformed("client", "a bad RST_STREAM frame");
    const stream = tap.streams.get(frame.streamId);
    // Upstream has ended or reset an unknown stream, or was told to cancel it: it need not hear of it again.
    const swallow = stream === undefined ? tap.everHeld : stream.mode >= Mode.fenced;
    if (stream !== undefined) endByReset(tap, stream, "client");
    if (swallow) return;
    tap.toUpstream.verbatim(frame.buffer, frame.start, frame.end);
  }

  /** The client's grants are for responses, which the tap never delays; only those of a reset stream go nowhere. */
  #windowUpdate(frame: Frame): void {
    const mode = this.#tap.streams.get(frame.streamId)?.mode ?? Mode.pass;
    if (mode < Mode.fenced) this.#tap.toUpstream.verbatim(frame.buffer, frame.start, frame.end);
  }
}
