/**
 * Policies from documents: paths checked against the descriptors, expressions against the types of each method's request.
 * Every problem of every document is found in one go. Pure.
 */
import { methodOf } from "../wire/descriptors.ts";
import { nearestName } from "../wire/nearest.ts";
import { compileImagePattern, imagePatternProblem } from "./images/pattern.ts";
import { type ImageRewrite, parsePrefix } from "./images/rewrite.ts";
import { compileLabelSelector } from "./label-selector.ts";
import { planMethod } from "./method-plan.ts";
import { policyMethodNames, selectableBy } from "./named-by.ts";
import type { MethodPlan, PolicySelector, RuntimePolicy } from "./policy.ts";
import { type PolicyProblem, placeText, splitProblem } from "./problem.ts";
import type { PlacedDocument, PolicySpec } from "./schema.ts";

type Note = (problem: string) => void;

/** The calls that name images: a rewrite must be the same in all of them. */
export const imageMethods = ["PullImage", "ImageStatus", "RemoveImage", "CreateContainer"] as const;

function checkMethods(methods: readonly string[], note: Note): string[] {
  const names = policyMethodNames();
  return methods.filter((method, index) => {
    if (methods.indexOf(method) !== index) note(`spec.methods.${index}: ${method} stands twice`);
    if (names.includes(method)) return methods.indexOf(method) === index;
    const near = nearestName(method, names);
    note(
      `spec.methods.${index}: CRI has no method ${method}${near === undefined ? "" : `, did you mean ${near}?`}`,
    );
    return false;
  });
}

/** A selector by what a method's request does not name would silently select nothing. */
function checkSelectable(spec: PolicySpec, methods: readonly string[], note: Note): void {
  const wanted = [
    ["namespaces", "pod"],
    ["podSelector", "pod"],
    ["includeStaticPods", "pod"],
    ["runtimeHandlers", "handler"],
    ["containers", "container"],
    ["images", "image"],
  ] as const;
  for (const [field, what] of wanted) {
    if (spec[field] === undefined) continue;
    for (const method of methods) {
      if (selectableBy(method)[what]) continue;
      note(
        `spec.${field}: ${method} names no ${what === "handler" ? "runtime handler" : what}, so this would select none of its calls`,
      );
    }
  }
}

function compileSelector(spec: PolicySpec, note: Note): PolicySelector {
  const set = (values: readonly string[] | undefined) => values && new Set(values);
  const labelProblems: string[] = [];
  const podSelector = spec.podSelector && compileLabelSelector(spec.podSelector, labelProblems);
  for (const problem of labelProblems) note(`spec.podSelector: ${problem}`);
  for (const [index, text] of (spec.images ?? []).entries()) {
    const problem = imagePatternProblem(text);
    if (problem) note(`spec.images.${index}: ${problem}`);
  }
  return {
    namespaces: set(spec.namespaces),
    podSelector,
    containers: set(spec.containers),
    images: spec.images?.map(compileImagePattern),
    runtimeHandlers: set(spec.runtimeHandlers),
    includeStaticPods: spec.includeStaticPods === true,
  };
}

const notWithRewrites = [
  "methods",
  "namespaces",
  "podSelector",
  "containers",
  "images",
  "runtimeHandlers",
  "includeStaticPods",
  "variables",
  "matchConditions",
  "validations",
  "mutations",
] as const satisfies readonly (keyof PolicySpec)[];

function compileRewrites(spec: PolicySpec, note: Note): ImageRewrite[] {
  const { imageRewrites } = spec;
  if (!imageRewrites) return [];
  for (const field of notWithRewrites) {
    if (spec[field] === undefined) continue;
    note(
      `spec.${field}: does not go with imageRewrites, which stand alone: an image must have the same name in every call about it, and some of those name no pod`,
    );
  }
  return imageRewrites.flatMap(({ from, to, keepCredentials }, index) => {
    const [source, target] = [parsePrefix(from), parsePrefix(to)];
    for (const [name, prefix] of [
      ["from", source],
      ["to", target],
    ] as const) {
      if (prefix !== undefined) continue;
      note(
        `spec.imageRewrites.${index}.${name}: must be a registry and whole parts of a path, such as docker.io/bitnami`,
      );
    }
    if (source === undefined || target === undefined) return [];
    return [{ from: source, to: target, keepCredentials: keepCredentials === true }];
  });
}

function compileActions(spec: PolicySpec, note: Note): RuntimePolicy["actions"] {
  const actions = new Set<"Deny" | "Warn" | "Audit">(spec.validationActions ?? ["Deny"]);
  if (actions.has("Deny") && actions.has("Warn")) {
    note("spec.validationActions: Deny and Warn do not go together: who is refused needs no warning");
  }
  if (actions.size < (spec.validationActions?.length ?? 0)) note("spec.validationActions: one stands twice");
  return actions;
}

function checkPurpose(spec: PolicySpec, note: Note): void {
  if (spec.imageRewrites) return;
  if (!spec.methods) note("spec.methods: is missing");
  if (!spec.validations && !spec.mutations) {
    note("spec: does nothing: it has neither validations nor mutations nor imageRewrites");
  }
}

/** Undefined where there were problems, which are added with the document's place and the field's path. */
export function compilePolicy(
  { file, index, document }: PlacedDocument,
  problems: PolicyProblem[],
): RuntimePolicy | undefined {
  const before = problems.length;
  const note: Note = (problem) => problems.push({ file, document: index, ...splitProblem(problem) });
  const { metadata, spec } = document;
  checkPurpose(spec, note);
  const names = checkMethods(spec.methods ?? [], note);
  checkSelectable(spec, names, note);
  const selector = compileSelector(spec, note);
  const imageRewrites = compileRewrites(spec, note);
  const actions = compileActions(spec, note);
  const methods = new Map<string, MethodPlan>();
  for (const name of names) {
    const described = methodOf(name);
    const method = described ?? { name, service: "RuntimeService", request: undefined };
    methods.set(name, planMethod(spec, method, note));
  }
  if (problems.length > before) return undefined;
  const denies = spec.validations !== undefined && actions.has("Deny");
  return {
    name: metadata.name,
    file: placeText({ file, document: index }),
    selector,
    methods,
    actions,
    enforced: actions.has("Deny"),
    failurePolicy: spec.failurePolicy ?? (denies ? "Fail" : "Ignore"),
    imageRewrites,
  };
}
