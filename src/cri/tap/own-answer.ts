/**
 * Answers of our own to the client: gRPC trailers in a header block that leaves its HPACK table as it is, for denied calls and
 * for calls whose runtime is gone.
 */
import { reportEnd } from "./call-end.ts";
import { trailersFrame } from "./frames.ts";
import { encodeBlock } from "./hpack/encoder.ts";
import { GrpcStatus } from "./message.ts";
import { encodeStatusText } from "./status-text.ts";
import type { TapState } from "./tap-state.ts";
import type { OwnStatus, TapStream } from "./tap-stream.ts";

/** UNAUTHENTICATED. */
const LAST_STATUS = 16;

/** Ends the stream towards the client: trailers, with the response headers folded in if none were sent. */
export function answer(tap: TapState, stream: TapStream, own: OwnStatus): void {
  const message = encodeStatusText(own.message);
  // An answer without a message that says OK would be taken for one: nothing of ours may ever say so.
  const status = own.status >= 1 && own.status <= LAST_STATUS ? own.status : GrpcStatus.internal;
  const trailers = [
    ["grpc-status", String(status)],
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
  reportEnd(tap, stream, { grpcStatus: status, grpcMessage: message, answeredByTap: true });
}
