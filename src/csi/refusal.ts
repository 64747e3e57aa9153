/** Errors of this leg in one line each, so that what decides stays readable. */
import { type Kind, TrivetError } from "../errors.ts";

/** An error of `kind` about `subject`: a field of the request, a volume id, a path or a pool. */
export function refusal(kind: Kind, subject: string, message: string, cause?: unknown): TrivetError {
  return new TrivetError({ kind, op: "csi", subject, message, cause });
}

/** A field that is missing or wrong. `why` completes "<field> ..." and says what to do. */
export function invalid(field: string, why: string): TrivetError {
  return refusal("invalid", field, `${field} ${why}`);
}
