/** A set of policies from the texts of its files, all or nothing. Pure. */
import { TrivetError } from "../../errors.ts";
import { compilePolicy } from "./compile.ts";
import type { RuntimePolicy } from "./policy.ts";
import { type PolicyProblem, placeText, problemText } from "./problem.ts";
import { type PlacedDocument, type PolicySource, readPolicyFile } from "./schema.ts";

export type { PolicySource } from "./schema.ts";

export interface CheckedPolicies {
  /** Those without a problem of their own, in order. */
  readonly policies: readonly { readonly policy: RuntimePolicy; readonly placed: PlacedDocument }[];
  readonly problems: readonly PolicyProblem[];
}

/** All policies of these files, in the order given, and every problem of every file. */
export function checkPolicies(sources: readonly PolicySource[]): CheckedPolicies {
  const problems: PolicyProblem[] = [];
  const policies: { policy: RuntimePolicy; placed: PlacedDocument }[] = [];
  const places = new Map<string, string>();
  for (const placed of sources.flatMap((source) => readPolicyFile(source, problems))) {
    const { file, index: document } = placed;
    const { name } = placed.document.metadata;
    const first = places.get(name);
    const message = `two policies have this name, the other is in ${first}`;
    if (first !== undefined) problems.push({ file, document, path: name, message });
    places.set(name, placeText({ file, document }));
    const policy = compilePolicy(placed, problems);
    if (policy) policies.push({ policy, placed });
  }
  return { policies, problems };
}

/** The error of a set that cannot be used: every problem, a line each. */
export function policiesError(
  problems: readonly PolicyProblem[],
  what = "the policies cannot be used",
): TrivetError {
  return new TrivetError({
    kind: "invalid",
    op: "policy.parse",
    subject: [...new Set(problems.map(({ file }) => file))].join(", "),
    message: `${what}:\n${problems.map((problem) => `  ${problemText(problem)}`).join("\n")}`,
  });
}

/**
 * All policies of these files, in the order given. One bad field anywhere is an error of kind `invalid` that lists every
 * problem of every file.
 */
export function loadPolicies(sources: readonly PolicySource[]): RuntimePolicy[] {
  const { policies, problems } = checkPolicies(sources);
  if (problems.length > 0) throw policiesError(problems);
  return policies.map(({ policy }) => policy);
}
