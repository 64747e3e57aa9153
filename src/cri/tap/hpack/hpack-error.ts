/** The one error of the HPACK code: a header block that breaks RFC 7541, which ends its connection. */
import { TrivetError } from "../../../errors.ts";

/** An error of kind `decode`; `why` completes "malformed header block: ...". */
export function hpackError(why: string): TrivetError {
  return new TrivetError({
    kind: "decode",
    op: "hpack.decode",
    subject: "header block",
    message: `malformed header block: ${why}`,
  });
}
