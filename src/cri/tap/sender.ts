/**
 * Sends request DATA upstream within its windows: verbatim where nothing waits before it, else queued on its stream and cut
 * anew. Streams that wait for the connection's window take turns, a frame each.
 */
import { TrivetError } from "../../errors.ts";
import type { DataPayload } from "./data-frame.ts";
import { dataHead, OWN_FRAME_BYTES } from "./frames.ts";
import { settleStream } from "./ledger.ts";
import type { TapState } from "./tap-state.ts";
import type { TapStream } from "./tap-stream.ts";

/** In the place of a piece that is gone. */
const SENT = Buffer.alloc(0);

/** Passes a DATA frame on whose length is already taken off `cli`. */
export function passData(tap: TapState, stream: TapStream, data: DataPayload): void {
  const { frame } = data;
  const waits = stream.queuedBytes > 0 || stream.endQueued;
  if (!waits && frame.length <= stream.up && frame.length <= tap.connUp) {
    stream.up -= frame.length;
    tap.connUp -= frame.length;
    tap.toUpstream.verbatim(frame.buffer, frame.start, frame.end);
    if (data.endStream) stream.requestDoneMs = tap.deps.nowMs();
    return;
  }
  enqueue(tap, stream, frame.buffer.subarray(data.start, data.end));
  stream.endQueued = data.endStream;
  flushStream(tap, stream);
  settleStream(tap, stream);
}

/** Queues bytes without sending any. The bytes are not copied. */
export function enqueue(tap: TapState, stream: TapStream, bytes: Buffer): void {
  if (bytes.length === 0) return;
  chargeHeld(tap, bytes.length);
  stream.queue.push(bytes);
  stream.queuedBytes += bytes.length;
  tap.connQueuedBytes += bytes.length;
}

/** Sends as much of the queue as the windows let through. */
export function flushStream(tap: TapState, stream: TapStream): void {
  while (sendFrame(tap, stream));
  if (stream.queuedBytes > 0) tap.blocked.add(stream);
  else tap.blocked.delete(stream);
}

/** After the connection's window grew: a frame of each waiting stream in turn, until nothing more can go. */
export function flushAll(tap: TapState): void {
  // A stream that sent and has more moves to the end of the set, which this loop then comes to again.
  for (const stream of tap.blocked) {
    if (tap.connUp <= 0) return;
    const before = stream.queuedBytes;
    sendFrame(tap, stream);
    if (stream.queuedBytes === before) continue;
    tap.blocked.delete(stream);
    if (stream.queuedBytes > 0) tap.blocked.add(stream);
  }
}

/** One frame of the queue, at most; whether there may be another. */
function sendFrame(tap: TapState, stream: TapStream): boolean {
  if (stream.queuedBytes === 0) {
    // An empty frame needs no window.
    if (stream.endQueued) sendHead(tap, stream, { length: 0, endStream: true });
    return false;
  }
  const length = Math.min(stream.queuedBytes, stream.up, tap.connUp, OWN_FRAME_BYTES);
  if (length <= 0) return false;
  sendHead(tap, stream, { length, endStream: stream.endQueued && length === stream.queuedBytes });
  sendPieces(tap, stream, length);
  stream.up -= length;
  tap.connUp -= length;
  stream.queuedBytes -= length;
  tap.connQueuedBytes -= length;
  releaseHeld(tap, length);
  return stream.queuedBytes > 0;
}

function sendHead(tap: TapState, stream: TapStream, head: { length: number; endStream: boolean }): void {
  tap.toUpstream.own(dataHead(stream.id, head.length, head.endStream));
  if (!head.endStream) return;
  stream.endQueued = false;
  stream.requestDoneMs = tap.deps.nowMs();
}

function sendPieces(tap: TapState, stream: TapStream, length: number): void {
  const { queue } = stream;
  let left = length;
  while (left > 0) {
    const piece = queue[stream.queueHead] as Buffer;
    if (piece.length > left) {
      tap.toUpstream.own(piece.subarray(0, left));
      queue[stream.queueHead] = piece.subarray(left);
      break;
    }
    tap.toUpstream.own(piece);
    queue[stream.queueHead++] = SENT;
    left -= piece.length;
  }
  // Not shift(): that moves all that is left, for each piece, once there are many.
  if (stream.queueHead * 2 < queue.length) return;
  queue.splice(0, stream.queueHead);
  stream.queueHead = 0;
}

/** Forgets what of the request was not sent yet. The connection's ledger is settled at the end of the event. */
export function dropRequest(tap: TapState, stream: TapStream): void {
  releaseHeld(tap, stream.queuedBytes + stream.heldBytes + stream.unpackedBytes);
  tap.pending.delete(stream);
  tap.connQueuedBytes -= stream.queuedBytes;
  tap.blocked.delete(stream);
  stream.queue.length = 0;
  stream.queueHead = 0;
  stream.queuedBytes = 0;
  stream.endQueued = false;
  stream.held = undefined;
  stream.heldBytes = 0;
  stream.unpackedBytes = 0;
}

/** Counts bytes kept in memory against the budget of the process; throws where that is exceeded. */
export function chargeHeld(tap: TapState, bytes: number): void {
  if (!tap.deps.budget.take(bytes)) {
    throw new TrivetError({
      kind: "exhausted",
      op: "tap.hold",
      subject: "request",
      message: `more than ${tap.deps.limits.maxHeldBytes} bytes of requests are held for editing`,
    });
  }
  tap.heldBytes += bytes;
}

/** The reverse of `chargeHeld`, when bytes were sent or dropped. */
export function releaseHeld(tap: TapState, bytes: number): void {
  tap.deps.budget.give(bytes);
  tap.heldBytes -= bytes;
}
