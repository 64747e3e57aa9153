/** A full disk below the state directory: an I/O failure (SPEC.md, code 5), told apart from a pool without addresses. */
import { isKind, TrivetError } from "../../errors.ts";

/** `work`, with kind `io` and a remedy in place of `exhausted`. */
export async function needingRoom<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!isKind(error, "exhausted")) throw error;
    const { op, subject, message } = error;
    throw new TrivetError({
      ...{ kind: "io", op, subject, cause: error },
      message: `there is no room for the state of the network (${message}): make room there, or give another stateDir`,
    });
  }
}
