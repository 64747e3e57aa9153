/** Tells the observer of a call, once, how it ended. */
import { dropObserved } from "./observed-response.ts";
import { decodeStatusText } from "./status-text.ts";
import type { TapState } from "./tap-state.ts";
import type { TapStream } from "./tap-stream.ts";

/** How a call ended, as far as the place that ends it knows. */
export interface Outcome {
  readonly grpcStatus?: number | undefined;
  /** As on the wire, percent-encoded. */
  readonly grpcMessage?: string | undefined;
  readonly reset?: "client" | "upstream" | "connection";
  readonly answeredByTap?: boolean;
}

/** Reports the end of a call; later calls for the same stream do nothing. */
export function reportEnd(tap: TapState, stream: TapStream, outcome: Outcome): void {
  if (stream.observed !== undefined) dropObserved(tap, stream, stream.observed);
  const call = stream.call;
  if (call === undefined) return;
  stream.call = undefined;
  const { grpcStatus, grpcMessage, reset, answeredByTap } = outcome;
  try {
    call.onEnd({
      grpcStatus,
      grpcMessage: grpcMessage === undefined ? undefined : decodeStatusText(grpcMessage),
      reset,
      requestBytes: stream.requestBytes,
      responseBytes: stream.responseBytes,
      answeredByTap: answeredByTap ?? false,
      timing: {
        startMs: stream.startMs,
        requestDoneMs: stream.requestDoneMs,
        responseStartMs: stream.responseStartMs,
        endMs: tap.deps.nowMs(),
        heldMs: stream.heldMs,
      },
    });
  } catch (error) {
    tap.deps.onHookError(error, "onEnd");
  }
}
