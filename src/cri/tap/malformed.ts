/** What a peer sent breaks HTTP/2: the end of its connection, and of no other. */
import { TrivetError } from "../../errors.ts";
import { ErrorCode } from "./frames.ts";

/** Who sent the bytes in question. */
export type Side = "client" | "upstream";

/** An error of kind `decode`; `why` completes "the client broke HTTP/2: ...". */
export function malformed(side: Side, why: string): TrivetError {
  return new TrivetError({
    kind: "decode",
    op: "tap.read",
    subject: side,
    message: `the ${side} broke HTTP/2: ${why}`,
  });
}

/** The error code that a GOAWAY carries for `error`. */
export function goawayCode(error: TrivetError): number {
  if (error.op === "hpack.decode") return ErrorCode.compressionError;
  return error.kind === "decode" ? ErrorCode.protocolError : ErrorCode.internalError;
}
