/** A set of policies from the texts of its files, all or nothing. Pure. */
import { TrivetError } from "../../errors.ts";
import { compilePolicy } from "./compile.ts";
import type { RuntimePolicy } from "./policy.ts";
import { type PolicySource, readPolicyFile } from "./schema.ts";

export type { PolicySource } from "./schema.ts";

/**
 * All policies of these files, in the order given. One bad field anywhere is an error of kind `invalid` that lists every
 * problem of every file.
 */
export function loadPolicies(sources: readonly PolicySource[]): RuntimePolicy[] {
  const problems: string[] = [];
  const policies: RuntimePolicy[] = [];
  const places = new Map<string, string>();
  for (const placed of sources.flatMap((source) => readPolicyFile(source, problems))) {
    const { name } = placed.document.metadata;
    const first = places.get(name);
    if (first !== undefined)
      problems.push(`${placed.where}: ${name}: two policies have this name, the other is in ${first}`);
    places.set(name, placed.where);
    const policy = compilePolicy(placed, problems);
    if (policy) policies.push(policy);
  }
  if (problems.length === 0) return policies;
  throw new TrivetError({
    kind: "invalid",
    op: "policy.parse",
    subject: sources.map(({ file }) => file).join(", "),
    message: `the policies cannot be used:\n${problems.map((problem) => `  ${problem}`).join("\n")}`,
  });
}
