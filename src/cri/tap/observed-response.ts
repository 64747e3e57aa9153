/**
 * Looks on while the one response message of a call goes to the client, for hooks that want to read it. It holds nothing up
 * and makes nothing fail: where it cannot keep the message, nobody gets to see it.
 */
import type { DataPayload } from "./data-frame.ts";
import { appended, framedBytes, isWhole, MESSAGE_PREFIX_BYTES, unframe } from "./message.ts";
import type { TapState } from "./tap-state.ts";
import type { TapStream } from "./tap-stream.ts";

/** The message as far as it has come, gRPC prefix first: `bytes[0, length)`. */
export class ObservedResponse {
  bytes: Buffer | undefined;
  length = 0;
  /** `grpc-encoding` of the response. */
  encoding = "identity";
}

/** Copies what passes by, so that no chunk is pinned; gives up what will not become one message that may be kept. */
export function observeData(tap: TapState, stream: TapStream, { frame, start, end }: DataPayload): void {
  const { observed } = stream;
  if (observed === undefined || end === start) return;
  if (!tap.deps.budget.takeSpare(end - start)) {
    dropObserved(tap, stream, observed);
    return;
  }
  tap.heldBytes += end - start;
  observed.bytes = appended(observed.bytes, observed.length, frame.buffer.subarray(start, end));
  observed.length += end - start;
  if (observed.length < MESSAGE_PREFIX_BYTES) return;
  const whole = framedBytes(observed.bytes, 0);
  const tooLarge = whole > tap.deps.limits.maxMessageBytes + MESSAGE_PREFIX_BYTES;
  if (tooLarge || observed.length > whole) dropObserved(tap, stream, observed);
}

/** Nobody will see the message; its memory is given back. */
export function dropObserved(tap: TapState, stream: TapStream, { length }: ObservedResponse): void {
  tap.deps.budget.give(length);
  tap.heldBytes -= length;
  stream.observed = undefined;
}

/** Shows the message of a call that has ended with `grpcStatus`. */
export function reportResponse(tap: TapState, stream: TapStream, grpcStatus: number | undefined): void {
  const { observed, call } = stream;
  if (grpcStatus !== 0 || call?.onResponse === undefined || observed?.bytes === undefined) return;
  if (!isWhole(observed.bytes, observed.length)) return;
  const message = unframe(observed.bytes.subarray(0, observed.length), {
    encoding: observed.encoding,
    maxBytes: tap.deps.limits.maxMessageBytes,
  });
  if (!Buffer.isBuffer(message)) return;
  try {
    call.onResponse(message);
  } catch (error) {
    tap.deps.onHookError(error, "onResponse");
  }
}
