/**
 * Answers of our own to the client: gRPC trailers in a header block that leaves its HPACK table as it is, for denied calls and
 * for calls whose runtime is gone.
 */
import { reportEnd } from "./call-end.ts";
import { trailersFrame } from "./frames.ts";
import { encodeBlock } from "./hpack/encoder.ts";
import { encodeStatusText } from "./status-text.ts";
import type { TapState } from "./tap-state.ts";
import type { OwnStatus, TapStream } from "./tap-stream.ts";

/** Ends the stream towards the client: trailers, with the response headers folded in if none were sent. */
export function answer(tap: TapState, stream: TapStream, own: OwnStatus): void {
  const message = encodeStatusText(own.message);
  const trailers = [
    ["grpc-status", String(own.status)],
    ["grpc-message", message],
  ] as const;
  const head = [
    [":status", "200"],
    ["content-type", "application/grpc"],
  ] as const;
  const fields = stream.responseStarted ? trailers : [...head, ...trailers];
  const floor = tap.tableFloorBytes;
  tap.tableFloorBytes = undefined;
  if (floor !== undefined) tap.responseDecoder.resizeTable(floor);
  tap.toClient.own(trailersFrame(stream.id, encodeBlock(fields, floor)));
  stream.responseStarted = true;
  stream.upstreamEnded = true;
  reportEnd(tap, stream, { grpcStatus: own.status, grpcMessage: message, answeredByTap: true });
}
