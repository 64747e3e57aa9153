/**
 * Looks on while the one response message of a call goes to the client, for hooks that want to read it. It holds nothing up
 * and makes nothing fail: where it cannot keep the message, nobody gets to see it.
 */
import type { DataPayload } from "./data-frame.ts";
import { framedBytes, MESSAGE_PREFIX_BYTES, unframe } from "./message.ts";
import type { TapState } from "./tap-state.ts";
import type { TapStream } from "./tap-stream.ts";

/** The message as far as it has come, gRPC prefix first. */
export class ObservedResponse {
  /** Copies of what passed by, `length` octets in all: put together only if the call ends well. */
  pieces: Buffer[] = [];
  length = 0;
  /** What the prefix says, which is also what is taken from the budget; 0 until it is there. */
  wholeBytes = 0;
  /** `grpc-encoding` of the response. */
  encoding = "identity";
}

/** Copies what passes by, so that no chunk is pinned; gives up what will not become one message that may be kept. */
export function observeData(tap: TapState, stream: TapStream, { frame, start, end }: DataPayload): void {
  const { observed } = stream;
  if (observed === undefined || end === start) return;
  observed.pieces.push(Buffer.from(frame.buffer.subarray(start, end)));
  observed.length += end - start;
  if (observed.wholeBytes === 0 && !begin(tap, observed)) {
    dropObserved(tap, stream, observed);
    return;
  }
  const tooLong = observed.wholeBytes > 0 && observed.length > observed.wholeBytes;
  if (tooLong) dropObserved(tap, stream, observed);
}

/**
 * Takes the room for the whole message as soon as its prefix is there: where several together would be too many, some are
 * seen, rather than all of them in part. False where it may not be kept.
 */
function begin(tap: TapState, observed: ObservedResponse): boolean {
  if (observed.length < MESSAGE_PREFIX_BYTES) return true;
  if (observed.pieces.length > 1) observed.pieces = [Buffer.concat(observed.pieces)];
  const whole = framedBytes(observed.pieces[0] as Buffer, 0);
  if (whole > tap.deps.limits.maxMessageBytes + MESSAGE_PREFIX_BYTES) return false;
  if (!tap.deps.budget.takeSpare(whole)) return false;
  observed.wholeBytes = whole;
  tap.heldBytes += whole;
  return true;
}

/** Nobody will see the message; its memory is given back. */
export function dropObserved(tap: TapState, stream: TapStream, { wholeBytes }: ObservedResponse): void {
  tap.deps.budget.give(wholeBytes);
  tap.heldBytes -= wholeBytes;
  stream.observed = undefined;
}

/** Shows the message of a call that has ended with `grpcStatus`. */
export function reportResponse(tap: TapState, stream: TapStream, grpcStatus: number | undefined): void {
  const { observed, call } = stream;
  if (grpcStatus !== 0 || call?.onResponse === undefined || observed === undefined) return;
  const { pieces, length, wholeBytes, encoding } = observed;
  if (length === 0 || length !== wholeBytes) return;
  const framed = pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces, length);
  const message = unframe(framed, { encoding, maxBytes: tap.deps.limits.maxMessageBytes });
  if (!Buffer.isBuffer(message)) return;
  try {
    call.onResponse(message);
  } catch (error) {
    tap.deps.onHookError(error, "onResponse");
  }
}
