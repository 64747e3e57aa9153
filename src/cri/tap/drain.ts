/**
 * Ending a connection without losing a call (RFC 9113, section 6.8): a GOAWAY that accepts every stream, a PING, and when
 * that comes back, so that the client must have read it, the GOAWAY that names the last stream. No GOAWAY ever accepts
 * more than an earlier one did.
 */
import type { Frame } from "./frame-reader.ts";
import {
  ErrorCode,
  Flag,
  FRAME_HEADER_BYTES,
  FrameType,
  goawayFrame,
  MAX_STREAM_ID,
  pingFrame,
} from "./frames.ts";
import { malformed } from "./malformed.ts";
import { endByReset } from "./stream-end.ts";
import type { TapState } from "./tap-state.ts";

/** Tells our PING from those that the client answers for upstream. */
const DRAIN_PAYLOAD = Buffer.from("\u00fftrivet\u0000", "latin1");
const GOAWAY_BYTES = 8;

/** Starts the drain; while upstream has not opened the connection with its SETTINGS yet, as soon as it has. */
export function announceDrain(tap: TapState): void {
  if (tap.drain === "no") tap.drain = "asked";
  if (tap.drain !== "asked" || !tap.upstreamSettingsSeen) return;
  tap.drain = "announced";
  if (tap.goawayId === MAX_STREAM_ID) tap.toClient.own(goawayFrame(MAX_STREAM_ID, ErrorCode.noError));
  tap.toClient.own(pingFrame(DRAIN_PAYLOAD, false));
}

/** Whether this PING from the client acknowledges ours. */
export function isDrainAck(tap: TapState, frame: Frame): boolean {
  if (tap.drain !== "announced" || (frame.flags & Flag.ack) === 0) return false;
  return DRAIN_PAYLOAD.compare(frame.buffer, frame.start + FRAME_HEADER_BYTES, frame.end) === 0;
}

/** The client has read the first GOAWAY, so it opens no more streams: names the last one. */
export function onDrainAck(tap: TapState): void {
  tap.drain = "final";
  sendGoaway(tap, ErrorCode.noError);
}

/** The GOAWAY that accepts no stream beyond those seen. */
export function sendGoaway(tap: TapState, code: number): void {
  tap.goawayId = Math.min(tap.goawayId, tap.highestStreamId);
  tap.toClient.own(goawayFrame(tap.goawayId, code));
}

/** Upstream's own GOAWAY, with its last stream lowered to what the client was told already. */
export function forwardGoaway(tap: TapState, frame: Frame): void {
  if (frame.type !== FrameType.goaway || frame.length < GOAWAY_BYTES || frame.streamId !== 0) {
    throw malformed("upstream", "a bad GOAWAY frame");
  }
  const lastId = frame.buffer.readUInt32BE(frame.start + FRAME_HEADER_BYTES) & MAX_STREAM_ID;
  if (lastId <= tap.goawayId) {
    tap.goawayId = lastId;
    tap.toClient.verbatim(frame.buffer, frame.start, frame.end);
  } else {
    const lowered = Buffer.from(frame.buffer.subarray(frame.start, frame.end));
    lowered.writeUInt32BE(tap.goawayId, FRAME_HEADER_BYTES);
    tap.toClient.own(lowered);
  }
  for (const stream of [...tap.streams.values()]) {
    // Upstream will never look at these; the client starts them anew elsewhere.
    if (stream.id > tap.goawayId) endByReset(tap, stream, "upstream");
  }
}
