/** Cases of a RuntimePolicyTest against policies: what was expected, and where it came otherwise. Pure. */
import type { PolicyChange, PolicyOutcome } from "../../record/call-record.ts";
import { methodOf } from "../../wire/descriptors.ts";
import type { Placed } from "../documents.ts";
import { type Explanation, explainCall, type GivenCall } from "../explain.ts";
import { giveCall } from "../given-call.ts";
import type { RuntimePolicy } from "../policy.ts";
import type { PolicyProblem } from "../problem.ts";
import { defaultExemptions, type Exemptions } from "../select.ts";
import { type Difference, type FieldCheck, fieldChecks } from "./field-check.ts";
import type { Expected, PolicyCase, PolicyTest } from "./schema.ts";

export interface CaseResult {
  readonly name: string;
  /** Empty for a case that passed. */
  readonly differences: readonly Difference[];
}

/** A case that is in order, and can be run. */
export interface PreparedCase {
  readonly name: string;
  run(policies: readonly RuntimePolicy[]): CaseResult;
}

type Note = (path: string, message: string) => void;

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function compare(what: string, expected: string | undefined, got: string | undefined): Difference[] {
  if (expected === undefined || expected === got) return [];
  return [{ what, expected, got: got ?? "nothing" }];
}

function compareNames(what: string, expected: readonly string[] | undefined, got: readonly string[]) {
  const show = (names: readonly string[]) => (names.length === 0 ? "none" : [...names].sort().join(", "));
  return compare(what, expected && show(expected), show(got));
}

function compareChanges(
  expected: Readonly<Record<string, string>> | undefined,
  changes: readonly PolicyChange[],
): Difference[] {
  if (!expected) return [];
  // Where several policies changed one field, what the last one did counts.
  const got = new Map(changes.map(({ field, outcome }) => [field, outcome]));
  const fields = [...new Set([...Object.keys(expected), ...got.keys()])];
  return fields.flatMap((field) =>
    compare(`changes: ${field}`, expected[field] ?? "no change", got.get(field) ?? "no change"),
  );
}

function compareOutcomes(expected: Expected["outcomes"], outcomes: readonly PolicyOutcome[]): Difference[] {
  if (!expected) return [];
  const show = ({ policy, action }: { policy: string; action: string }, message: string | undefined) =>
    `${action} by ${policy}${message === undefined ? "" : `: ${message}`}`;
  const places = Math.max(expected.length, outcomes.length);
  return Array.from({ length: places }, (_, index) => index).flatMap((index) => {
    const [wanted, got] = [expected[index], outcomes[index]];
    const asked = wanted?.message !== undefined;
    return compare(
      `outcomes[${index}]`,
      wanted ? show(wanted, wanted.message) : "nothing",
      got && show(got, asked || !wanted ? got.message : undefined),
    );
  });
}

function check(
  expected: Expected,
  checks: readonly FieldCheck[],
  call: GivenCall,
  got: Explanation,
): Difference[] {
  const { decision, policies } = got;
  const { denied, changes, outcomes } = decision;
  const message = decision.message ?? call.message;
  const matched = policies.filter((policy) => policy.matched).map(({ policy }) => policy);
  const said = denied ? `Deny, by ${denied.policy}: ${denied.message}` : "Allow";
  if ((expected.decision === "Deny") !== (denied !== undefined))
    return [{ what: "decision", expected: expected.decision, got: said }];
  return [
    ...compare("policy", expected.policy, denied?.policy),
    ...compare("message", expected.message, denied?.message),
    ...compareNames("matches", expected.matches, matched),
    ...compareOutcomes(expected.outcomes, outcomes),
    ...compareChanges(expected.changes, changes),
    ...checks.flatMap((one) => one(message) ?? []),
  ];
}

function prepareChecks({ method, expect }: PolicyCase, note: Note): FieldCheck[] {
  const fields = Object.entries(expect.fields ?? {});
  const request = methodOf(method)?.request;
  if (expect.decision === "Deny" && expect.fields)
    note("expect.fields", "a call that is refused has none: the runtime never sees it");
  if (expect.decision === "Allow" && (expect.policy ?? expect.message) !== undefined)
    note("expect.decision", "policy and message are those of a denial: write decision: Deny");
  if (request === undefined) {
    if (fields.length > 0) note("expect.fields", `what the request of ${method} holds is not known here`);
    return [];
  }
  return fields.flatMap(([path, value]) => {
    try {
      return fieldChecks(request, path, value);
    } catch (error) {
      note("expect.fields", textOf(error));
      return [];
    }
  });
}

function prepareCase(given: PolicyCase, exempt: Exemptions, note: Note): PreparedCase | undefined {
  const { name, method, pod, container, image, listener, request, expect } = given;
  const { static: isStatic, ...podRest } = pod;
  const checks = prepareChecks(given, note);
  let call: GivenCall;
  try {
    call = giveCall({ method, pod: { ...podRest, isStatic }, container, image, listener, request });
  } catch (error) {
    note(methodOf(method) ? "request" : "method", textOf(error));
    return undefined;
  }
  return {
    name,
    run: (policies) => ({
      name,
      differences: check(expect, checks, call, explainCall(policies, call, { exempt })),
    }),
  };
}

/** The cases of a test that are in order; what is wrong with the others is added to the problems. */
export function prepareTest(
  { file, index, document }: Placed<PolicyTest>,
  problems: PolicyProblem[],
): PreparedCase[] {
  const { cases, exemptNamespaces } = document.spec;
  const exempt: Exemptions = exemptNamespaces
    ? { ...defaultExemptions, namespaces: new Set(exemptNamespaces) }
    : defaultExemptions;
  return cases.flatMap((one, place) => {
    const note: Note = (path, message) =>
      problems.push({ file, document: index, path: `spec.cases.${place}.${path}`, message });
    return prepareCase(one, exempt, note) ?? [];
  });
}

/** Names in expectations that no policy has, which could never be met. */
export function unknownPolicies(
  { file, index, document }: Placed<PolicyTest>,
  policies: readonly RuntimePolicy[],
): PolicyProblem[] {
  const names = new Set(policies.map(({ name }) => name));
  return document.spec.cases.flatMap(({ expect }, place) => {
    const asked = [...(expect.matches ?? []), ...(expect.outcomes ?? []).map(({ policy }) => policy)];
    const wrong = [...new Set([...asked, ...(expect.policy === undefined ? [] : [expect.policy])])];
    return wrong
      .filter((name) => !names.has(name))
      .map((name) => ({
        ...{ file, document: index, path: `spec.cases.${place}.expect` },
        message: `the policies that are tested have none named ${name}`,
      }));
  });
}
