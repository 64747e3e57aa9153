/**
 * Has a complete request message decided on, at once or when whoever decides is ready, and does what was decided. A stream
 * whose decision is pending keeps its message here and sends nothing; all that may befall it meanwhile ends the wait.
 */
import type { DataPayload } from "./data-frame.ts";
import { denyStream } from "./denial.ts";
import type { EditDecision } from "./hooks.ts";
import { settleStream } from "./ledger.ts";
import { GrpcStatus, internal, MESSAGE_PREFIX_BYTES, messagePrefix, tooLarge, unframe } from "./message.ts";
import { chargeHeld, enqueue, flushStream, passData, releaseHeld } from "./sender.ts";
import type { TapState } from "./tap-state.ts";
import { Mode, type TapStream } from "./tap-stream.ts";

type Decided = EditDecision | Promise<EditDecision>;

const FORWARD: EditDecision = { action: "forward" };

/** The message came in one frame: if it may pass, so may the frame. */
export function decideInPlace(tap: TapState, stream: TapStream, data: DataPayload): void {
  const framed = data.frame.buffer.subarray(data.start, data.end);
  const decided = ask(tap, stream, framed);
  if (decided instanceof Promise) {
    awaitDecision(tap, stream, decided);
    // A copy, so that the chunk is not pinned for as long as it takes.
    if (stream.mode === Mode.pending) keep(tap, stream, Buffer.from(framed));
    return;
  }
  const decision = checked(stream, framed.length, decided);
  endHold(tap, stream);
  if (decision.action === "deny") {
    denyStream(tap, stream, decision);
    return;
  }
  letGo(tap, stream);
  if (decision.action === "replace") sendReplaced(tap, stream, decision.message);
  else passData(tap, stream, data);
}

/** The message was put together from several frames: `held[0, stream.heldBytes)`. */
export function decideGathered(tap: TapState, stream: TapStream, held: Buffer): void {
  const framed = held.subarray(0, stream.heldBytes);
  const decided = ask(tap, stream, framed);
  if (!(decided instanceof Promise)) {
    carryOut(tap, stream, { framed, decided });
    return;
  }
  awaitDecision(tap, stream, decided);
  // The client may have an empty frame with END_STREAM to send, or a mistake that ends the wait.
  if (stream.mode === Mode.pending) settleStream(tap, stream);
}

/** From here on the stream waits, unless too many do already. */
function awaitDecision(tap: TapState, stream: TapStream, decided: Promise<EditDecision>): void {
  const { maxPending } = tap.deps.limits;
  const full = tap.pending.size >= maxPending;
  // Before anything that can throw: a rejection that nobody listens to would end the process.
  decided.then(
    (decision) => tap.asEvent(() => decideLate(tap, stream, decision)),
    (error: unknown) => {
      tap.deps.onHookError(error, "edit");
      tap.asEvent(() => decideLate(tap, stream, BUG));
    },
  );
  if (full) {
    const message = `trivet: more than ${maxPending} calls wait for a decision`;
    denyStream(tap, stream, { status: GrpcStatus.resourceExhausted, message });
    return;
  }
  stream.mode = Mode.pending;
  tap.pending.add(stream);
}

function keep(tap: TapState, stream: TapStream, framed: Buffer): void {
  chargeHeld(tap, framed.length);
  stream.held = framed;
  stream.heldBytes = framed.length;
  settleStream(tap, stream);
}

/** The decision on a stream that waited for it, unless the wait ended in another way. */
function decideLate(tap: TapState, stream: TapStream, decided: EditDecision): void {
  const { held } = stream;
  if (!tap.pending.delete(stream) || held === undefined) return;
  carryOut(tap, stream, { framed: held.subarray(0, stream.heldBytes), decided });
}

function carryOut(
  tap: TapState,
  stream: TapStream,
  { framed, decided }: { framed: Buffer; decided: EditDecision },
): void {
  const decision = checked(stream, framed.length, decided);
  endHold(tap, stream);
  if (decision.action === "deny") {
    denyStream(tap, stream, decision);
    return;
  }
  letGo(tap, stream);
  if (decision.action === "replace") {
    sendReplaced(tap, stream, decision.message);
    return;
  }
  enqueue(tap, stream, framed);
  send(tap, stream);
}

/** The message as it came is no longer in the books; what goes upstream for it is about to be. */
function letGo(tap: TapState, stream: TapStream): void {
  releaseHeld(tap, stream.heldBytes + stream.unpackedBytes);
  stream.held = undefined;
  stream.heldBytes = 0;
  stream.unpackedBytes = 0;
  stream.mode = Mode.released;
}

function ask(tap: TapState, stream: TapStream, framed: Buffer): Decided {
  const { maxMessageBytes } = tap.deps.limits;
  // One that came in a single frame was not looked at before.
  if (framed.length > maxMessageBytes + MESSAGE_PREFIX_BYTES)
    return { action: "deny", ...tooLarge(maxMessageBytes) };
  const message = unframe(framed, { encoding: stream.encoding, maxBytes: maxMessageBytes });
  if (!Buffer.isBuffer(message)) return { action: "deny", ...message };
  if (framed[0] === 1) {
    chargeHeld(tap, message.length);
    stream.unpackedBytes = message.length;
  }
  try {
    return stream.call?.edit?.(message) ?? FORWARD;
  } catch (error) {
    tap.deps.onHookError(error, "edit");
    return BUG;
  }
}

const BUG: EditDecision = {
  action: "deny",
  ...internal("a bug in deciding on this call: see the log"),
};
const LENGTH_GIVEN: EditDecision = {
  action: "deny",
  ...internal("content-length on a request that a policy changes: send it without"),
};

/** HTTP/2 servers reset a stream, or close the connection, when DATA and `content-length` differ. gRPC clients send none. */
function checked(stream: TapStream, framedBytes: number, decision: EditDecision): EditDecision {
  if (!stream.hasLength || decision.action !== "replace") return decision;
  return decision.message.length + MESSAGE_PREFIX_BYTES === framedBytes ? decision : LENGTH_GIVEN;
}

function endHold(tap: TapState, stream: TapStream): void {
  stream.heldMs = tap.deps.nowMs() - stream.holdStartMs;
}

function sendReplaced(tap: TapState, stream: TapStream, message: Uint8Array): void {
  enqueue(tap, stream, messagePrefix(message.length));
  enqueue(tap, stream, Buffer.from(message.buffer, message.byteOffset, message.byteLength));
  send(tap, stream);
}

/** Sends what is queued, with END_STREAM behind it where the client has ended its half. */
function send(tap: TapState, stream: TapStream): void {
  stream.endQueued = stream.clientEnded;
  flushStream(tap, stream);
  settleStream(tap, stream);
}
