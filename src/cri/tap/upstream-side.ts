/** What upstream sends: responses, grants, resets. Everything goes on as it came except what a denied stream still receives. */
import { DataPayload, windowIncrement } from "./data-frame.ts";
import { forwardGoaway } from "./drain.ts";
import { type Frame, type FrameSink, NO_FRAME } from "./frame-reader.ts";
import { FrameType, windowUpdateFrame } from "./frames.ts";
import { HeaderBlock } from "./header-block.ts";
import type { FieldSink } from "./hpack/decoder.ts";
import { grantConnection, grantStream } from "./ledger.ts";
import { malformed } from "./malformed.ts";
import { observeData } from "./observed-response.ts";
import { flushAll, flushStream } from "./sender.ts";
import { onUpstreamSettings } from "./settings.ts";
import { abandonUnsentRequest, discardRest, endByReset, endByUpstream } from "./stream-end.ts";
import type { TapState } from "./tap-state.ts";
import { Mode, type TapStream } from "./tap-stream.ts";

/** The fields of a response that the tap reads. */
class ResponseFields implements FieldSink {
  /** 1xx: more header blocks come before the response proper. */
  interim = false;
  grpcStatus: number | undefined;
  grpcMessage: string | undefined;
  encoding = "identity";

  clear(): void {
    this.interim = false;
    this.grpcStatus = undefined;
    this.grpcMessage = undefined;
    this.encoding = "identity";
  }

  field(name: string, value: string): void {
    if (name === "grpc-status") this.grpcStatus = value === "0" ? 0 : parseStatus(value);
    else if (name === "grpc-message") this.grpcMessage = value;
    else if (name === "grpc-encoding") this.encoding = value;
    else this.interim = value.startsWith("1");
  }
}

function parseStatus(value: string): number | undefined {
  return /^\d{1,9}$/.test(value) ? Number(value) : undefined;
}

/** Deals with each frame of the runtime. Throws `malformed` and `hpackError`. */
export class UpstreamSide implements FrameSink {
  readonly #tap: TapState;
  readonly #block: HeaderBlock;
  readonly #fields = new ResponseFields();
  readonly #payload = new DataPayload("upstream", NO_FRAME);

  constructor(tap: TapState) {
    this.#tap = tap;
    this.#block = new HeaderBlock("upstream", tap.deps.limits.maxHeaderBlockBytes);
  }

  maxPayloadBytes(): number {
    return this.#tap.clientMaxFrameBytes;
  }

  onPreface(): void {
    // Servers have none besides their SETTINGS.
  }

  onFrame(frame: Frame): void {
    const tap = this.#tap;
    if (!tap.upstreamSettingsSeen && frame.type !== FrameType.settings) {
      throw malformed("upstream", "it does not begin with SETTINGS");
    }
    this.#block.checkOrder(frame);
    switch (frame.type) {
      case FrameType.data:
        this.#data(frame);
        return;
      case FrameType.headers:
      case FrameType.pushPromise:
      case FrameType.continuation:
        if (this.#block.add(frame)) this.#headers();
        return;
      case FrameType.rstStream:
        this.#reset(frame);
        return;
      case FrameType.settings:
        onUpstreamSettings(tap, frame);
        return;
      case FrameType.windowUpdate:
        this.#windowUpdate(frame);
        return;
      case FrameType.goaway:
        forwardGoaway(tap, frame);
        return;
      default:
        tap.toClient.verbatim(frame.buffer, frame.start, frame.end);
    }
  }

  #headers(): void {
    const tap = this.#tap;
    const block = this.#block;
    const fields = this.#fields;
    // Decoded whatever becomes of it, like the client's: a block left out would spoil all later ones.
    fields.clear();
    tap.responseDecoder.decode(block.bytes, block.range, fields);
    tap.tableFloorBytes = undefined; // this block opened with the update that was due
    const stream = tap.streams.get(block.streamId);
    if (stream === undefined || block.promises) {
      block.forward(tap.toClient);
      return;
    }
    if (Number.isNaN(stream.responseStartMs)) stream.responseStartMs = tap.deps.nowMs();
    if (stream.mode === Mode.fenced) {
      this.#fencedHeaders(stream);
      return;
    }
    if (!block.endStream) {
      if (!fields.interim) {
        stream.responseStarted = true;
        if (stream.observed !== undefined) stream.observed.encoding = fields.encoding;
      }
      block.forward(tap.toClient);
      return;
    }
    // The reset goes first: upstream must not take the end of its answer for the end of our request.
    abandonUnsentRequest(tap, stream);
    block.forward(tap.toClient);
    stream.responseStarted = true;
    endByUpstream(tap, stream, fields);
  }

  /** A response to a call that was denied meanwhile. Its header blocks go on; its status only if it was complete. */
  #fencedHeaders(stream: TapStream): void {
    const tap = this.#tap;
    const block = this.#block;
    if (block.endStream && stream.responseStarted) {
      block.forward(tap.toClient);
      endByUpstream(tap, stream, this.#fields);
      discardRest(tap, stream);
      return;
    }
    // Trailers-only, perhaps because of our reset: these become the response headers, and our trailers follow.
    block.forward(tap.toClient, block.endStream);
    if (!this.#fields.interim) stream.responseStarted = true;
  }

  /** Response bytes are never held: only those of a denied call go no further. */
  #data(frame: Frame): void {
    const tap = this.#tap;
    const data = this.#payload.read(frame);
    const stream = tap.streams.get(frame.streamId);
    if (stream === undefined) {
      tap.toClient.verbatim(frame.buffer, frame.start, frame.end);
      return;
    }
    stream.responseBytes += data.end - data.start;
    if (stream.mode === Mode.fenced) {
      // The client will never see these bytes, so it will never grant them again.
      if (frame.length > 0) tap.toUpstream.own(windowUpdateFrame(0, frame.length));
      return;
    }
    if (stream.observed !== undefined) observeData(tap, stream, data);
    if (data.endStream) abandonUnsentRequest(tap, stream);
    tap.toClient.verbatim(frame.buffer, frame.start, frame.end);
    if (data.endStream) endByUpstream(tap, stream, {});
  }

  /** Upstream gives a call up: so does the client, and what it still sends is dropped with credit. */
  #reset(frame: Frame): void {
    const tap = this.#tap;
    if (frame.length !== 4 || frame.streamId === 0) throw malformed("upstream", "a bad RST_STREAM frame");
    const stream = tap.streams.get(frame.streamId);
    if (stream?.mode === Mode.fenced) return; // the client gets our answer
    if (stream !== undefined) endByReset(tap, stream, "upstream");
    tap.toClient.verbatim(frame.buffer, frame.start, frame.end);
  }

  /** Upstream's grants first let out what waits here; what then is over goes to the client. */
  #windowUpdate(frame: Frame): void {
    const tap = this.#tap;
    const increment = windowIncrement("upstream", frame);
    if (frame.streamId === 0) {
      tap.connUp += increment;
      if (tap.blocked.size > 0) flushAll(tap);
      grantConnection(tap, frame);
      return;
    }
    const stream = tap.streams.get(frame.streamId);
    if (stream === undefined) {
      tap.toClient.verbatim(frame.buffer, frame.start, frame.end);
      return;
    }
    if (stream.mode >= Mode.fenced) return; // what the client sends is dropped, and credited by us
    stream.up += increment;
    if (stream.queuedBytes > 0) flushStream(tap, stream);
    grantStream(tap, stream, frame);
  }
}
