/**
 * The only place where an error kind becomes a gRPC status. CSI settles most of them (specification, "Error Scheme");
 * details stay empty, as it demands.
 */
import { type Kind, TrivetError } from "../errors.ts";
import type { RpcCode, RpcStatus } from "../host/grpc.ts";

const codes = {
  invalid: "INVALID_ARGUMENT",
  environment: "INVALID_ARGUMENT",
  decode: "INVALID_ARGUMENT",
  version: "INVALID_ARGUMENT",
  unsupported: "UNIMPLEMENTED",
  range: "OUT_OF_RANGE",
  "not-found": "NOT_FOUND",
  conflict: "ALREADY_EXISTS",
  precondition: "FAILED_PRECONDITION",
  busy: "ABORTED",
  exhausted: "RESOURCE_EXHAUSTED",
  unavailable: "UNAVAILABLE",
  cancelled: "CANCELLED",
  deadline: "DEADLINE_EXCEEDED",
  io: "INTERNAL",
  bug: "INTERNAL",
} as const satisfies Record<Kind, RpcCode>;

/** A status travels in a header: one that repeats a huge field of the request would cost the caller the whole answer. */
const MAX_MESSAGE_LENGTH = 1_000;

/**
 * `message`, cut where a caller's own text has made it too long for a header or a line of the log. Half a character, of
 * the caller's or left by the cut, is replaced: a header cannot hold it, and to try would end the process.
 */
export function boundedMessage(message: string): string {
  const cut = message.length <= MAX_MESSAGE_LENGTH ? message : `${message.slice(0, MAX_MESSAGE_LENGTH)}...`;
  return cut.toWellFormed();
}

/** What the caller gets for any thrown value. A bug of ours is told apart in the log only, never with its stack. */
export function errorToStatus(error: unknown): RpcStatus {
  if (!(error instanceof TrivetError) || error.kind === "bug") {
    return { code: "INTERNAL", message: "internal error of the driver: its log has the details" };
  }
  return { code: codes[error.kind], message: boundedMessage(error.message) };
}
