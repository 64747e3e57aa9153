/**
 * The one error of Trivet, thrown everywhere below the edges. The edges turn its kind into a gRPC status
 * (`csi/status.ts`) or a CNI code (`cni/error-code.ts`); nothing below them knows either.
 */

/** What went wrong, as far as a caller can act on it. Closed: each edge maps every kind. */
export const kinds = [
  "invalid", // a field of a request or a configuration is missing or wrong
  "environment", // an environment variable of the CNI call is missing or wrong
  "decode", // bytes that cannot be parsed at all
  "version", // a protocol version that we do not speak
  "unsupported", // known, well formed, and not offered by us
  "range", // a number outside what can ever be served
  "not-found",
  "conflict", // it exists already, and differs
  "precondition", // the system is not in the state that the call needs
  "busy", // another operation on the same object is running
  "exhausted", // space, addresses or another resource ran out
  "unavailable", // a peer or a disk is away; retry later
  "cancelled",
  "deadline",
  "io", // the operating system refused, for a reason that is not one of the above
  "bug", // ours
] as const;

export type Kind = (typeof kinds)[number];

export interface TrivetErrorInit {
  readonly kind: Kind;
  /** The effect or step that failed, such as `mount.bind` or `link.add`. */
  readonly op: string;
  /** The object that it failed on: a path, an id, a field. */
  readonly subject: string;
  /** A lower-case sentence that says what failed on which object, and what to do where that is known. */
  readonly message: string;
  readonly cause?: unknown;
}

export class TrivetError extends Error {
  override readonly name = "TrivetError";
  readonly kind: Kind;
  readonly op: string;
  readonly subject: string;

  constructor({ kind, op, subject, message, cause }: TrivetErrorInit) {
    super(message, cause === undefined ? undefined : { cause });
    this.kind = kind;
    this.op = op;
    this.subject = subject;
  }
}

/** Whether `error` is a TrivetError of one of these kinds. */
export function isKind(error: unknown, ...wanted: Kind[]): error is TrivetError {
  return error instanceof TrivetError && wanted.includes(error.kind);
}

/** Any thrown value as a TrivetError: what is not one already is a bug of ours. */
export function asTrivetError(error: unknown, op: string, subject: string): TrivetError {
  if (error instanceof TrivetError) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new TrivetError({ kind: "bug", op, subject, message: text, cause: error });
}

/** Attaches a failed clean-up to the failure that made it necessary: the first failure stays the one reported. */
export function withCleanupFailure(first: unknown, cleanup: unknown): unknown {
  if (first instanceof Error) {
    const failed = first as Error & { cleanupFailures?: unknown[] };
    failed.cleanupFailures = [...(failed.cleanupFailures ?? []), cleanup];
  }
  return first;
}
