/**
 * Two policies that change one field of the same calls: what the earlier one does is then lost, or the later one does
 * nothing. Only what can be told without a call is told. Pure.
 */
import { methodOf } from "../wire/descriptors.ts";
import { keyFieldOf, keyText, resolvePath } from "../wire/field-path.ts";
import { mappingOf } from "../wire/value.ts";
import type { LintedPolicy } from "./lint.ts";
import type { PolicySelector, RuntimePolicy } from "./policy.ts";
import type { MutationDocument, PlacedDocument } from "./schema.ts";
import { defaultExemptions } from "./select.ts";

export interface Overlap {
  readonly placed: PlacedDocument;
  readonly path: string;
  readonly message: string;
}

interface Change {
  readonly index: number;
  readonly op: "set" | "add" | "remove";
  /** One field, entry or element. */
  readonly field: string;
  /** As JSON; undefined where it is worked out. */
  readonly value: string | undefined;
}

/** The fields that a mutation is about, one by one. Elements that go to the end of a list are nobody else's. */
function changesOf(request: string, document: MutationDocument, index: number): Change[] {
  const { op, path, value, values } = document;
  if (op === "removeWhere" || op === "replaceWhere") return [];
  const { field, selector } = resolvePath(request, path).last;
  const one = (name: string, given: unknown): Change => ({
    ...{ index, op, field: name },
    value: given === undefined ? undefined : JSON.stringify(given),
  });
  const keyed = field !== undefined && !selector && (field.map || keyFieldOf(field) !== undefined);
  if (values) {
    const entries = Object.entries(values);
    return entries.map(([key, given]) => one(keyed ? `${path}${keyText(key)}` : `${path}.${key}`, given));
  }
  if (op !== "add" || !field || selector || !(field.repeated || field.map)) return [one(path, value)];
  const keyName = keyFieldOf(field)?.name;
  if (keyName === undefined) return [];
  const elements: readonly unknown[] = Array.isArray(value) ? value : [value];
  return elements.flatMap((element) => {
    const key = mappingOf(element)?.find(([name]) => name === keyName)?.[1];
    return typeof key === "string" ? [one(`${path}${keyText(key)}`, element)] : [];
  });
}

function disjoint(a: ReadonlySet<string> | undefined, b: ReadonlySet<string> | undefined): boolean {
  return a !== undefined && b !== undefined && ![...a].some((name) => b.has(name));
}

function neverBoth(a: PolicySelector, b: PolicySelector): boolean {
  const all = defaultExemptions.namespaces;
  const exempt = (one: PolicySelector, other: PolicySelector) =>
    other.namespaces === undefined &&
    one.namespaces !== undefined &&
    [...one.namespaces].every((name) => all.has(name));
  if (disjoint(a.namespaces, b.namespaces) || exempt(a, b) || exempt(b, a)) return true;
  if (disjoint(a.containers, b.containers) || disjoint(a.runtimeHandlers, b.runtimeHandlers)) return true;
  return (a.podSelector ?? []).some((own) =>
    (b.podSelector ?? []).some(
      (other) =>
        own.key === other.key &&
        own.operator === "In" &&
        other.operator === "In" &&
        disjoint(own.values, other.values),
    ),
  );
}

const isWithin = (inner: string, outer: string) =>
  inner === outer || inner.startsWith(`${outer}.`) || inner.startsWith(`${outer}[`);

/** What is lost; undefined where nothing is. */
function lossOf(first: Change, then: Change, name: string): string | undefined {
  if (first.op === "remove" && then.op === "remove") return undefined;
  if (then.op === "add") {
    if (first.op === "remove" || first.value === then.value) return undefined;
    const kept = first.field === then.field || isWithin(first.field, then.field);
    return kept
      ? `does nothing where ${name} matches too, which sets ${first.field} first: add keeps what is there`
      : undefined;
  }
  if (!isWithin(first.field, then.field) && !isWithin(then.field, first.field)) return undefined;
  if (
    first.field === then.field &&
    first.op !== "remove" &&
    then.op === "set" &&
    first.value !== undefined &&
    first.value === then.value
  )
    return undefined;
  if (isWithin(then.field, first.field) && then.field !== first.field && first.op !== "remove")
    return undefined;
  const what = then.op === "remove" ? "removes" : "sets again";
  const undone = first.op === "remove" ? "removes" : "sets";
  return `${what} what ${name} ${undone} where both match: the later one counts`;
}

function changesFor(policy: RuntimePolicy, placed: PlacedDocument, method: string): Change[] {
  const request = policy.enforced && policy.methods.has(method) ? methodOf(method)?.request : undefined;
  if (request === undefined) return [];
  const { mutations = [] } = placed.document.spec;
  return mutations.flatMap((mutation, index) => changesOf(request, mutation, index));
}

/** One for each mutation of a later policy and each earlier policy that it collides with. */
export function overlaps(policies: readonly LintedPolicy[]): Overlap[] {
  const found = new Map<string, Overlap>();
  for (const [place, { policy, placed }] of policies.entries()) {
    for (const earlier of policies.slice(0, place)) {
      if (neverBoth(earlier.policy.selector, policy.selector)) continue;
      for (const method of policy.methods.keys()) {
        const before = changesFor(earlier.policy, earlier.placed, method);
        for (const then of before.length === 0 ? [] : changesFor(policy, placed, method)) {
          const message = before
            .map((first) => lossOf(first, then, earlier.policy.name))
            .find((loss) => loss !== undefined);
          if (message === undefined) continue;
          const path = `mutations.${then.index}`;
          found.set(`${place} ${path} ${message}`, { placed, path, message });
        }
      }
    }
  }
  return [...found.values()];
}
