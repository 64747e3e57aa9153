/** What policies say of a call, without what must not be shown: messages, and what changes were from and to. */
import { methodOf } from "../wire/descriptors.ts";
import type { Decided } from "./call-record.ts";
import { createScrubber } from "./scrub.ts";

interface DecidedCall {
  readonly method: string;
  /** The request as it came. */
  readonly message: Uint8Array;
}

/** The same where nothing is said, which is nearly always: the request is then not looked at. */
export function scrubDecided(decided: Decided, { method, message }: DecidedCall): Decided {
  const { policies, changes, denied, policyError } = decided;
  const silent = !denied && !policyError && !changes?.length && !policies?.some((outcome) => outcome.message);
  const known = methodOf(method);
  // Nothing can be said of what is in a request that has no description.
  if (silent || !known) return decided;
  const scrub = createScrubber(known.request, message);
  return {
    ...(policies && {
      policies: policies.map((outcome) =>
        outcome.message === undefined ? outcome : { ...outcome, message: scrub(outcome.message) },
      ),
    }),
    ...(changes && {
      changes: changes.map((change) => ({
        ...change,
        ...(change.before !== undefined && { before: scrub(change.before) }),
        ...(change.after !== undefined && { after: scrub(change.after) }),
      })),
    }),
    ...(denied && { denied: { ...denied, message: scrub(denied.message) } }),
    ...(policyError !== undefined && { policyError: scrub(policyError) }),
  };
}
