/**
 * Denying a call: reset it upstream, send an empty SETTINGS frame behind as a fence, and answer the client when the fence is
 * acknowledged: by then nothing of the stream can arrive any more that would cross our answer.
 */
import { ErrorCode, rstStreamFrame, settingsFrame } from "./frames.ts";
import { settleStream } from "./ledger.ts";
import { answer } from "./own-answer.ts";
import { dropRequest } from "./sender.ts";
import { discardRest } from "./stream-end.ts";
import type { TapState } from "./tap-state.ts";
import { Mode, type OwnStatus, type TapStream } from "./tap-stream.ts";

/** Starts the denial of a live stream. `sendFences` must follow at the end of the event. */
export function denyStream(tap: TapState, stream: TapStream, denial: OwnStatus): void {
  if (stream.upstreamEnded) {
    // The client has its answer already: only the rest of its request is stopped.
    tap.toUpstream.own(rstStreamFrame(stream.id, ErrorCode.cancel));
    discardRest(tap, stream);
    return;
  }
  dropRequest(tap, stream);
  stream.mode = Mode.fenced;
  stream.denial = denial;
  tap.everHeld = true;
  tap.fenced.push(stream);
  tap.toUpstream.own(rstStreamFrame(stream.id, ErrorCode.cancel));
  settleStream(tap, stream);
}

/** One fence for all streams denied in this event. */
export function sendFences(tap: TapState): void {
  if (tap.fenced.length === 0) return;
  tap.awaitedByUpstream.push({ owner: "tap", fenced: tap.fenced });
  tap.fenced = [];
  tap.toUpstream.own(settingsFrame(false));
}

/** The fence is acknowledged: answers every stream behind it that is not over already. */
export function answerFenced(tap: TapState, fenced: readonly TapStream[]): void {
  for (const stream of fenced) {
    if (stream.mode !== Mode.fenced || tap.streams.get(stream.id) !== stream) continue;
    if (stream.denial !== undefined) answer(tap, stream, stream.denial);
    discardRest(tap, stream);
  }
}
