/**
 * What a field of a request should be, checked by setting it to that: where nothing changes, it was. So expectations are
 * written and read like mutations, and what is shown of a difference is redacted in the same way. Pure.
 */
import type { Field } from "../../wire/descriptors.ts";
import { keyFieldOf, keyText, type ResolvedPath, resolvePath } from "../../wire/field-path.ts";
import { applyMutations, type CompiledMutation, compileMutation } from "../../wire/mutation.ts";
import { mappingOf } from "../../wire/value.ts";

export interface Difference {
  /** `decision`, `message` and the like, or the path of a field. */
  readonly what: string;
  readonly expected: string;
  readonly got: string;
}

/** Undefined where the field is as it should be. */
export type FieldCheck = (message: Uint8Array) => Difference | undefined;

const NOTHING = "nothing";

function absentCheck(path: string, remove: CompiledMutation): FieldCheck {
  return (message) => {
    const [change] = applyMutations(message, [remove]).changes;
    return change && { what: path, expected: NOTHING, got: change.before ?? "something" };
  };
}

/** An element of a list of texts or numbers is there or not: it has no other value. */
function presentCheck(path: string, remove: CompiledMutation): FieldCheck {
  return (message) =>
    applyMutations(message, [remove]).changes.length > 0
      ? undefined
      : { what: path, expected: "to be there", got: NOTHING };
}

function equalCheck(path: string, set: CompiledMutation): FieldCheck {
  return (message) => {
    const { changes } = applyMutations(message, [set]);
    // Of an element that is not there, no field is set.
    if (changes.length === 0) return { what: path, expected: "a value", got: NOTHING };
    const change = changes.find(({ outcome }) => outcome !== "kept");
    if (!change) return undefined;
    const { before = NOTHING, after = NOTHING } = change;
    return { what: path, expected: after, got: before === after ? `${before}, another one` : before };
  };
}

/** The fields below a mapping: of a message by name, of a map or an environment by key. Undefined for what is one value. */
function partsOf({ text, last }: ResolvedPath, value: unknown): [string, unknown][] | undefined {
  const entries = mappingOf(value);
  const { field, selector } = last;
  if (!entries || entries.length === 0 || !field) return undefined;
  if ((field.map || isKeyed(field)) && !selector)
    return entries.map(([key, inner]) => [`${text}${keyText(key)}`, inner]);
  if (field.kind !== "message" || (field.repeated && !selector)) return undefined;
  return entries.map(([name, inner]) => [`${text}.${name}`, inner]);
}

const isKeyed = (field: Field) => keyFieldOf(field) !== undefined;

/** Throws `invalid` for a path that the request has not, and a value that the field cannot have. */
export function fieldChecks(request: string, path: string, value: unknown): FieldCheck[] {
  const resolved = resolvePath(request, path);
  const { field, selector } = resolved.last;
  const remove = () => compileMutation(request, { op: "remove", path });
  if (value === null) return [absentCheck(path, remove())];
  if (field?.repeated && field.kind !== "message" && selector?.by === "key" && value === true)
    return [presentCheck(path, remove())];
  const parts = partsOf(resolved, value);
  if (parts) return parts.flatMap(([below, inner]) => fieldChecks(request, below, inner));
  return [equalCheck(path, compileMutation(request, { op: "set", path, value }))];
}
