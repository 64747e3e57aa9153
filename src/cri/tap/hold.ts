/**
 * Holds the one request message of a stream until it is complete. Nothing of a held stream goes upstream undecided: whatever
 * is not one well-formed message is denied.
 */
import type { DataPayload } from "./data-frame.ts";
import { decideGathered, decideInPlace } from "./decision.ts";
import { denyStream } from "./denial.ts";
import { settleStream } from "./ledger.ts";
import { appended, framedBytes, internal, isWhole, MESSAGE_PREFIX_BYTES, tooLarge } from "./message.ts";
import { chargeHeld, flushStream } from "./sender.ts";
import type { TapState } from "./tap-state.ts";
import { Mode, type OwnStatus, type TapStream } from "./tap-stream.ts";

/** DATA for a stream whose message is not complete yet. Its length is already taken off `cli`. */
export function holdData(tap: TapState, stream: TapStream, data: DataPayload): void {
  if (Number.isNaN(stream.holdStartMs)) stream.holdStartMs = tap.deps.nowMs();
  const { start, end } = data;
  const { buffer } = data.frame;
  const whole = end - start >= MESSAGE_PREFIX_BYTES && framedBytes(buffer, start) === end - start;
  if (stream.heldBytes === 0 && whole) {
    decideInPlace(tap, stream, data);
    return;
  }
  // Several frames, or the start of one message with more to come: copied together, so that no chunk is pinned.
  gather(tap, stream, buffer.subarray(start, end));
  const problem = problemSoFar(tap, stream, data.endStream);
  if (problem !== undefined) {
    denyStream(tap, stream, problem);
  } else if (stream.held !== undefined && isWhole(stream.held, stream.heldBytes)) {
    decideGathered(tap, stream, stream.held);
  } else if (data.endStream) {
    // No message at all: there is nothing to decide on, and what to make of it is the runtime's business.
    stream.mode = Mode.released;
    stream.endQueued = true;
    flushStream(tap, stream);
  } else {
    settleStream(tap, stream);
  }
}

/** Why what was gathered can never become one message that we may hold. */
function problemSoFar(tap: TapState, stream: TapStream, endStream: boolean): OwnStatus | undefined {
  const { held, heldBytes } = stream;
  if (held === undefined) return undefined;
  const { maxMessageBytes } = tap.deps.limits;
  const expected = heldBytes < MESSAGE_PREFIX_BYTES ? Number.POSITIVE_INFINITY : framedBytes(held, 0);
  if (Number.isFinite(expected) && expected > maxMessageBytes + MESSAGE_PREFIX_BYTES)
    return tooLarge(maxMessageBytes);
  if (heldBytes > expected) return internal(MORE_THAN_ONE);
  return endStream && heldBytes < expected ? internal("a request message that was cut short") : undefined;
}

/** Said of a stream that sends more after its message. */
export const MORE_THAN_ONE = "more than one request message on a method that takes one";

/** Adds to what is held of the stream's message. */
export function gather(tap: TapState, stream: TapStream, bytes: Buffer): void {
  if (bytes.length === 0) return;
  chargeHeld(tap, bytes.length);
  stream.held = appended(stream.held, stream.heldBytes, bytes);
  stream.heldBytes += bytes.length;
}
