/**
 * Answers the client in the runtime's stead when that cannot be reached, has died, or must not be used any longer: a server of
 * the smallest kind, which gives every call the same gRPC status at once. Upstream is not written to any more.
 */
import { openStream, RequestFields } from "./client-side.ts";
import type { Frame, FrameSink } from "./frame-reader.ts";
import { Flag, FRAME_HEADER_BYTES, FrameType, pingFrame, settingsFrame } from "./frames.ts";
import type { HeaderBlock } from "./header-block.ts";
import { malformed } from "./malformed.ts";
import { answer } from "./own-answer.ts";
import { applyClientSettings, onClientSettings } from "./settings.ts";
import { removeStream } from "./stream-end.ts";
import type { TapState } from "./tap-state.ts";
import type { OwnStatus } from "./tap-stream.ts";

/** Takes the client's frames over from `ClientSide`, with the same books and header tables. */
export class Outage implements FrameSink {
  readonly #tap: TapState;
  readonly #status: OwnStatus;
  readonly #block: HeaderBlock;
  readonly #fields = new RequestFields();
  /** Calls answered, those that were in flight included. */
  answered = 0;

  constructor(tap: TapState, status: OwnStatus) {
    this.#tap = tap;
    this.#status = status;
    this.#block = tap.requestBlock;
  }

  /** Answers what is open: denied calls with their denial, all others that have no final answer yet with the status. */
  begin(): void {
    const tap = this.#tap;
    if (!tap.upstreamSettingsSeen) {
      tap.upstreamSettingsSeen = true;
      tap.toClient.own(settingsFrame(false));
    }
    this.#acknowledge();
    for (const stream of [...tap.streams.values()]) {
      if (!stream.upstreamEnded) {
        answer(tap, stream, stream.denial ?? this.#status);
        this.answered++;
      }
      removeStream(tap, stream);
    }
  }

  maxPayloadBytes(): number {
    return this.#tap.upstreamMaxFrameBytes;
  }

  onPreface(): void {
    // Nobody to pass it to.
  }

  onFrame(frame: Frame): void {
    const tap = this.#tap;
    this.#block.checkOrder(frame);
    switch (frame.type) {
      case FrameType.headers:
      case FrameType.continuation:
        if (this.#block.add(frame)) this.#headers();
        return;
      case FrameType.settings:
        if ((frame.flags & Flag.ack) !== 0) return;
        onClientSettings(tap, frame);
        this.#acknowledge();
        return;
      case FrameType.ping: {
        if ((frame.flags & Flag.ack) !== 0) return;
        const payload = frame.buffer.subarray(frame.start + FRAME_HEADER_BYTES, frame.end);
        if (payload.length !== 8) throw malformed("client", "a PING frame that is not 8 octets long");
        tap.toClient.own(pingFrame(payload, true));
        return;
      }
      default: // DATA and the rest need no answer: the calls they belong to are over.
    }
  }

  #acknowledge(): void {
    for (const settings of this.#tap.awaitedByUpstream.splice(0)) {
      if (settings.owner !== "client") continue;
      this.#tap.toClient.own(settingsFrame(true));
      applyClientSettings(this.#tap, settings);
    }
  }

  #headers(): void {
    const tap = this.#tap;
    const block = this.#block;
    this.#fields.clear();
    tap.requestDecoder.decode(block.bytes, block.range, this.#fields);
    if (block.streamId <= tap.highestStreamId) return; // trailers of a call that was answered already
    tap.highestStreamId = block.streamId;
    try {
      openStream(tap, block, this.#fields);
    } catch (error) {
      tap.deps.onHookError(error, "onRequest");
    }
    const stream = tap.streams.get(block.streamId);
    if (stream === undefined) return;
    // Answered before its message came: that is dropped, within the window that the client has anyway.
    answer(tap, stream, stream.denial ?? this.#status);
    removeStream(tap, stream);
    this.answered++;
  }
}
