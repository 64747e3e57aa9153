/** All rules of the CNI specification (SPEC.md 0.3.1 to 1.1.0) that can be tested over environment, stdin and stdout. */
import type { Rule } from "./rule.ts";
import { addRules } from "./rules/add.ts";
import { checkRules } from "./rules/check.ts";
import { delRules } from "./rules/del.ts";
import { delegationRules } from "./rules/delegation.ts";
import { gcAndStatusRules } from "./rules/gc-and-status.ts";
import { versionAndErrorRules } from "./rules/version-and-errors.ts";

export const rules: readonly Rule[] = [
  ...versionAndErrorRules,
  ...addRules,
  ...delRules,
  ...checkRules,
  ...gcAndStatusRules,
  ...delegationRules,
];
