/** The ways in which a stream ends, and what has to become of its held and queued bytes and of its entry. */
import { type Outcome, reportEnd } from "./call-end.ts";
import { ErrorCode, rstStreamFrame } from "./frames.ts";
import { settleStream } from "./ledger.ts";
import { reportResponse } from "./observed-response.ts";
import { dropRequest } from "./sender.ts";
import type { TapState } from "./tap-state.ts";
import { Mode, type TapStream } from "./tap-stream.ts";

/** Takes a stream out of the books. What comes for it later is of an unknown stream. */
export function removeStream(tap: TapState, stream: TapStream): void {
  dropRequest(tap, stream);
  tap.discarding.delete(stream);
  tap.streams.delete(stream.id);
}

/**
 * Whatever the client still sends on the stream is dropped, with credit, until it ends or resets it. The oldest of too many
 * such streams is given up: its late DATA is then credited to the connection only, and its RST_STREAM goes no further.
 */
export function discardRest(tap: TapState, stream: TapStream): void {
  dropRequest(tap, stream);
  if (stream.clientEnded) {
    removeStream(tap, stream);
    return;
  }
  stream.mode = Mode.discard;
  tap.everHeld = true;
  tap.discarding.add(stream);
  settleStream(tap, stream);
  if (tap.discarding.size <= tap.deps.limits.maxDiscarding) return;
  for (const oldest of tap.discarding) {
    removeStream(tap, oldest);
    return;
  }
}

/** Upstream is about to end a stream of which request bytes wait here: they can never be sent, so cancel that half. */
export function abandonUnsentRequest(tap: TapState, stream: TapStream): void {
  const held = stream.mode === Mode.hold || stream.mode === Mode.pending;
  const waits = stream.queuedBytes > 0 || stream.endQueued || held;
  if (!waits) return;
  tap.toUpstream.own(rstStreamFrame(stream.id, ErrorCode.cancel));
  discardRest(tap, stream);
}

/** Upstream ended its half, and the client was told. */
export function endByUpstream(tap: TapState, stream: TapStream, outcome: Outcome): void {
  stream.upstreamEnded = true;
  if (stream.observed !== undefined) reportResponse(tap, stream, outcome.grpcStatus);
  reportEnd(tap, stream, outcome);
  if (stream.clientEnded && stream.mode !== Mode.fenced) removeStream(tap, stream);
}

/** The client has sent its END_STREAM, and it was dealt with. */
export function endByClient(tap: TapState, stream: TapStream): void {
  const over = stream.upstreamEnded && stream.mode !== Mode.fenced;
  if (over || stream.mode === Mode.discard) removeStream(tap, stream);
}

/** Either side reset the stream. */
export function endByReset(tap: TapState, stream: TapStream, reset: "client" | "upstream"): void {
  reportEnd(tap, stream, { reset });
  removeStream(tap, stream);
}
