/**
 * What policies may say and probably do not mean: never an error, always with what to do about it. Looks at the documents of a
 * set whose policies compile. Pure.
 */
import { methodClass } from "../record/method-class.ts";
import { overlaps } from "./lint-overlap.ts";
import type { RuntimePolicy } from "./policy.ts";
import type { PolicyProblem } from "./problem.ts";
import type { PlacedDocument, PolicySpec } from "./schema.ts";

export interface LintedPolicy {
  readonly policy: RuntimePolicy;
  readonly placed: PlacedDocument;
}

type Note = (path: string, message: string) => void;

const isDeny = ({ validations, validationActions = ["Deny"] }: PolicySpec) =>
  validations !== undefined && validationActions.includes("Deny");

/** Kubernetes' names: a pod has no others. */
const DNS_LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const LABEL_VALUE = /^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$/;
const LABEL_KEY = /^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/;

function checkNames({ namespaces = [], containers = [] }: PolicySpec, note: Note): void {
  for (const [field, names] of Object.entries({ namespaces, containers })) {
    for (const [index, name] of names.entries()) {
      if (DNS_LABEL.test(name)) continue;
      const star = name.includes("*") ? ": names are taken as they are, not as patterns" : "";
      note(`${field}.${index}`, `no ${field.slice(0, -1)} can have this name${star}`);
    }
  }
}

function checkImages({ images = [] }: PolicySpec, note: Note): void {
  for (const [index, pattern] of images.entries()) {
    const path = `images.${index}`;
    if (/^\w+:\/\//.test(pattern)) note(path, "matches no image: leave out the scheme");
    else if (/^sha256:/.test(pattern)) note(path, "matches no image: patterns are for names, not for ids");
    else if (
      /[A-Z]/.test(
        pattern
          .replace(/[:@].*$/, "")
          .split("/")
          .slice(1)
          .join("/"),
      )
    )
      note(path, "matches no image: repositories have no capital letters");
  }
}

interface Wish {
  in: Set<string> | undefined;
  readonly not: Set<string>;
  exists: boolean;
  absent: boolean;
}

/** Requirements of one label that cannot all hold. */
function checkLabels({ podSelector }: PolicySpec, note: Note): void {
  const wishes = new Map<string, Wish>();
  const wishFor = (key: string) => {
    const wish = wishes.get(key) ?? { in: undefined, not: new Set(), exists: false, absent: false };
    wishes.set(key, wish);
    return wish;
  };
  const allow = (key: string, values: readonly string[]) => {
    const wish = wishFor(key);
    wish.in = new Set(values.filter((value) => wish.in?.has(value) ?? true));
    for (const value of values) {
      if (!LABEL_VALUE.test(value))
        note("podSelector", `no label can have the value that ${key} is asked for`);
    }
  };
  for (const [key, value] of Object.entries(podSelector?.matchLabels ?? {})) allow(key, [value]);
  for (const { key, operator, values = [] } of podSelector?.matchExpressions ?? []) {
    if (operator === "In") allow(key, values);
    else if (operator === "NotIn") for (const value of values) wishFor(key).not.add(value);
    else if (operator === "Exists") wishFor(key).exists = true;
    else wishFor(key).absent = true;
  }
  for (const [key, wish] of wishes) {
    if (!LABEL_KEY.test(key)) note("podSelector", `no label can have the key ${key}`);
    const left = wish.in && [...wish.in].filter((value) => !wish.not.has(value));
    if (left?.length === 0 || (wish.absent && (wish.exists || wish.in)))
      note("podSelector", `matches no pod: what it asks of the label ${key} cannot all hold`);
  }
}

const isConstant = (expression: string, value: "true" | "false") => expression.trim() === value;

function checkExpressions(spec: PolicySpec, note: Note): void {
  for (const [index, { expression }] of (spec.matchConditions ?? []).entries()) {
    if (isConstant(expression, "false"))
      note(`matchConditions.${index}`, "is never met: the policy matches no call");
    if (isConstant(expression, "true")) note(`matchConditions.${index}`, "is always met: leave it out");
  }
  for (const [index, { expression, message, messageExpression }] of (spec.validations ?? []).entries()) {
    if (isConstant(expression, "true")) note(`validations.${index}`, "is always true: it refuses nothing");
    if (isDeny(spec) && message === undefined && messageExpression === undefined)
      note(
        `validations.${index}`,
        "has no message: the one whose pod is refused reads the expression instead. Say what is wrong and what to do",
      );
  }
}

/** What goes by another method as well, so that a refusal of one alone is none. */
function checkWaysRound(spec: PolicySpec, note: Note): void {
  if (!isDeny(spec)) return;
  const methods = spec.methods ?? [];
  const others = ["Exec", "Attach", "PortForward"].filter((name) => !methods.includes(name));
  if (methods.includes("Exec") && others.length > 0)
    note("methods", `Exec without ${others.join(" and ")}: these are ways into a pod as well`);
  if (methods.includes("ExecSync"))
    note(
      "methods",
      "ExecSync is what the kubelet's exec probes and life-cycle hooks use: they will fail too",
    );
  if (methods.includes("PullImage") && !methods.includes("CreateContainer"))
    note(
      "methods",
      "PullImage alone refuses no image that the node has already: add a policy for CreateContainer",
    );
  if (spec.failurePolicy === "Ignore")
    note(
      "failurePolicy",
      "Ignore lets a call pass on which the policy cannot be evaluated: whoever can make it fail is not refused",
    );
}

function checkCost({ methods = [] }: PolicySpec, note: Note): void {
  for (const [index, name] of methods.entries()) {
    if (methodClass(name) === "poll" || ["ContainerStatus", "PodSandboxStatus", "Status"].includes(name))
      note(
        `methods.${index}`,
        `the kubelet calls ${name} again and again: each call is held and read for this`,
      );
  }
}

/** Prefixes that an earlier one takes everything of: the first that fits is the one. */
function checkRewrites(policies: readonly LintedPolicy[], noteFor: (placed: PlacedDocument) => Note): void {
  const before: { from: string; policy: string }[] = [];
  for (const { policy, placed } of policies) {
    for (const [index, { from, to }] of policy.imageRewrites.entries()) {
      const path = `imageRewrites.${index}`;
      const note = noteFor(placed);
      const first = before.find((other) => from === other.from || from.startsWith(`${other.from}/`));
      if (first)
        note(
          path,
          `is never used: ${first.from} of ${first.policy} comes first and has the same prefix. Put the longer one first`,
        );
      if (from === to) note(path, "changes nothing: from and to are the same");
      if (policy.enforced) before.push({ from, policy: policy.name });
    }
  }
}

/** Every warning, in the order of the policies. */
export function lintPolicies(policies: readonly LintedPolicy[]): PolicyProblem[] {
  const warnings: PolicyProblem[] = [];
  const noteFor =
    ({ file, index }: PlacedDocument): Note =>
    (path, message) =>
      warnings.push({ file, document: index, path: `spec.${path}`, message });
  for (const { placed } of policies) {
    const note = noteFor(placed);
    const { spec } = placed.document;
    for (const check of [checkNames, checkImages, checkLabels, checkExpressions, checkWaysRound, checkCost])
      check(spec, note);
  }
  checkRewrites(policies, noteFor);
  for (const { placed, path, message } of overlaps(policies)) noteFor(placed)(path, message);
  const order = policies.map(({ placed: { file, index } }) => `${file} ${index}`);
  const placeOf = ({ file, document }: PolicyProblem) => order.indexOf(`${file} ${document}`);
  return warnings.sort((a, b) => placeOf(a) - placeOf(b));
}
