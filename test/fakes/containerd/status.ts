/**
 * gRPC failures in the words of containerd's CRI plugin. Go wraps errors as `what: cause`, and a cause that says
 * "not found" keeps its code; whatever has no code of its own becomes UNKNOWN.
 */
import { status } from "@grpc/grpc-js";

export { status };

/** An error that the server turns into a gRPC status. */
export class StatusError extends Error {
  override readonly name = "StatusError";
  readonly code: status;
  /** The text alone, where grpc-js' own errors have it. */
  readonly details: string;

  constructor(code: status, details: string) {
    super(details);
    this.code = code;
    this.details = details;
  }
}

export function notFound(what: string): StatusError {
  return new StatusError(status.NOT_FOUND, `${what}: not found`);
}

/** An error without a code in containerd: UNKNOWN on the wire. */
export function unknown(details: string): StatusError {
  return new StatusError(status.UNKNOWN, details);
}

export function invalid(details: string): StatusError {
  return new StatusError(status.INVALID_ARGUMENT, details);
}

/** Any thrown value as a status, as grpc-go does it: UNKNOWN, with the error's text. */
export function toStatus(error: unknown): { readonly code: status; readonly details: string } {
  if (error instanceof StatusError) return { code: error.code, details: error.message };
  return { code: status.UNKNOWN, details: error instanceof Error ? error.message : String(error) };
}
