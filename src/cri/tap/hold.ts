/**
 * Holds the one request message of a stream until it is complete, has it decided on, and sends what came out of it. Nothing
 * of a held stream goes upstream undecided: whatever is not one well-formed message is denied.
 */
import type { DataPayload } from "./data-frame.ts";
import { denyStream } from "./denial.ts";
import type { EditDecision } from "./hooks.ts";
import { settleStream } from "./ledger.ts";
import { framedBytes, internal, MESSAGE_PREFIX_BYTES, messagePrefix, tooLarge, unframe } from "./message.ts";
import { chargeHeld, enqueue, flushStream, passData, releaseHeld } from "./sender.ts";
import type { TapState } from "./tap-state.ts";
import { Mode, type OwnStatus, type TapStream } from "./tap-stream.ts";

/** DATA for a stream whose message is not decided on yet. Its length is already taken off `cli`. */
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
  } else if (stream.held !== undefined && isComplete(stream, stream.held)) {
    decideGathered(tap, stream, { held: stream.held, endStream: data.endStream });
  } else if (data.endStream) {
    // No message at all: there is nothing to decide on, and what to make of it is the runtime's business.
    stream.mode = Mode.released;
    stream.endQueued = true;
    flushStream(tap, stream);
  } else {
    settleStream(tap, stream);
  }
}

function isComplete(stream: TapStream, held: Buffer): boolean {
  return stream.heldBytes >= MESSAGE_PREFIX_BYTES && stream.heldBytes === framedBytes(held, 0);
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

function gather(tap: TapState, stream: TapStream, bytes: Buffer): void {
  if (bytes.length === 0) return;
  chargeHeld(tap, bytes.length);
  const needed = stream.heldBytes + bytes.length;
  if (stream.held === undefined || stream.held.length < needed) {
    const grown = Buffer.allocUnsafeSlow(capacityFor(stream, bytes, needed));
    stream.held?.copy(grown, 0, 0, stream.heldBytes);
    stream.held = grown;
  }
  bytes.copy(stream.held, stream.heldBytes);
  stream.heldBytes = needed;
}

/** Doubles up to what the prefix says: the prefix alone must not make us allocate what may never come. */
function capacityFor(stream: TapStream, bytes: Buffer, needed: number): number {
  const first = stream.held ?? bytes;
  const known = (stream.held === undefined ? bytes.length : stream.heldBytes) >= MESSAGE_PREFIX_BYTES;
  const whole = known ? framedBytes(first, 0) : MESSAGE_PREFIX_BYTES;
  return Math.max(needed, Math.min(whole, 2 * needed));
}

/** The message came in one frame: if it may pass, so may the frame. */
function decideInPlace(tap: TapState, stream: TapStream, data: DataPayload): void {
  const framed = data.frame.buffer.subarray(data.start, data.end);
  const decision = decide(tap, stream, framed);
  if (decision.action === "deny") {
    denyStream(tap, stream, decision);
    return;
  }
  stream.mode = Mode.released;
  if (decision.action === "forward") {
    passData(tap, stream, data);
    return;
  }
  sendReplaced(tap, stream, { message: decision.message, endStream: data.endStream });
}

function decideGathered(
  tap: TapState,
  stream: TapStream,
  { held, endStream }: { held: Buffer; endStream: boolean },
): void {
  const framed = held.subarray(0, stream.heldBytes);
  const decision = decide(tap, stream, framed);
  if (decision.action === "deny") {
    denyStream(tap, stream, decision);
    return;
  }
  releaseHeld(tap, stream.heldBytes);
  stream.held = undefined;
  stream.heldBytes = 0;
  stream.mode = Mode.released;
  if (decision.action === "replace") {
    sendReplaced(tap, stream, { message: decision.message, endStream });
    return;
  }
  enqueue(tap, stream, framed);
  stream.endQueued = endStream;
  flushStream(tap, stream);
  settleStream(tap, stream);
}

function decide(tap: TapState, stream: TapStream, framed: Buffer): EditDecision {
  const { maxMessageBytes } = tap.deps.limits;
  // One that came in a single frame was not looked at before.
  if (framed.length > maxMessageBytes + MESSAGE_PREFIX_BYTES)
    return { action: "deny", ...tooLarge(maxMessageBytes) };
  const message = unframe(framed, { encoding: stream.encoding, maxBytes: maxMessageBytes });
  if (!Buffer.isBuffer(message)) return { action: "deny", ...message };
  try {
    const decision = stream.call?.edit?.(message) ?? { action: "forward" };
    return isLengthKept(stream, framed, decision) ? decision : { action: "deny", ...internal(LENGTH_GIVEN) };
  } catch (error) {
    tap.deps.onHookError(error, "edit");
    return { action: "deny", ...internal("a bug in deciding on this call: see the log") };
  } finally {
    stream.heldMs = tap.deps.nowMs() - stream.holdStartMs;
  }
}

const LENGTH_GIVEN = "content-length on a request that a policy changes: send it without";

/** HTTP/2 servers reset a stream, or close the connection, when DATA and `content-length` differ. gRPC clients send none. */
function isLengthKept(stream: TapStream, framed: Buffer, decision: EditDecision): boolean {
  if (!stream.hasLength || decision.action !== "replace") return true;
  return decision.message.length + MESSAGE_PREFIX_BYTES === framed.length;
}

function sendReplaced(
  tap: TapState,
  stream: TapStream,
  { message, endStream }: { message: Uint8Array; endStream: boolean },
): void {
  enqueue(tap, stream, messagePrefix(message.length));
  enqueue(tap, stream, Buffer.from(message.buffer, message.byteOffset, message.byteLength));
  stream.endQueued = endStream;
  flushStream(tap, stream);
  settleStream(tap, stream);
}
