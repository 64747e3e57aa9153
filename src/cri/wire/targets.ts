/**
 * What a mutation does to one field, with its values encoded: everything that can be known before a message comes, and
 * every mistake that can be told when a policy is loaded.
 */

import { shownReader, shownText, shownValue } from "./changes.ts";
import { type Field, messageType } from "./descriptors.ts";
import { bytesField, entryBytes, tag, varint } from "./encode.ts";
import { keyFieldOf, keyText, pathError, type ResolvedPath, resolvePath, type Step } from "./field-path.ts";
import { eachValue } from "./fields.ts";
import type { ItemPredicate, MutationOp, MutationSpec } from "./mutation.ts";
import { REDACTED } from "./redaction.ts";
import { encodeElements, encodeField, encodeValue, mappingOf } from "./value.ts";

/** An entry of a map, or an element of a list whose elements have keys. */
export interface Entry {
  readonly key: string;
  readonly keyBytes: Buffer;
  /** The whole element, without tag. */
  readonly element: Buffer;
  /** The same with its tag. */
  readonly tagged: Buffer;
  /** Only the value, of a map and of KeyValue, where nothing else is to be changed. */
  readonly value: Buffer | undefined;
  readonly text: string;
  /** As it is shown. */
  readonly shown: string;
}

interface At {
  readonly path: ResolvedPath;
  /** The field of the last step; undefined where our API does not know it. */
  readonly field: Field | undefined;
  readonly number: number;
}

export type Target = At &
  (
    | {
        /** The field as a whole. */
        readonly kind: "whole";
        /** Whether what is there stays. */
        readonly keep: boolean;
        /** The field with its tag; several pieces for a list. */
        readonly pieces: readonly Buffer[];
        readonly shown: string;
      }
    | {
        readonly kind: "entries";
        readonly keep: boolean;
        readonly field: Field;
        readonly entries: readonly Entry[];
      }
    | { readonly kind: "append"; readonly field: Field; readonly elements: readonly Buffer[] }
    | { readonly kind: "element"; readonly field: Field; readonly element: Buffer }
    | { readonly kind: "remove" }
    | {
        readonly kind: "where";
        readonly field: Field;
        readonly where: ItemPredicate;
        /** What takes its place; changes within it; or nothing. */
        readonly element: Buffer | undefined;
        readonly inner: ((index: number) => readonly Target[]) | undefined;
      }
  );

const isMessage = (field: Field | undefined) => field?.kind === "message" && !field.map;

function at(path: ResolvedPath): At {
  return { path, field: path.last.field, number: path.last.number };
}

/** A field that we do not know can only be told by what its value looks like. */
function unknownField(number: number, value: unknown, path: string): Buffer {
  if (typeof value === "string") return bytesField(number, value);
  if (value instanceof Uint8Array) return bytesField(number, value);
  const isNumber = typeof value === "bigint" || (typeof value === "number" && Number.isSafeInteger(value));
  if (!isNumber && typeof value !== "boolean") {
    throw pathError(path, "is not known: its value must be text, bytes, a whole number, true or false");
  }
  return Buffer.concat([tag(number, 0), varint(BigInt(value))]);
}

function whole(path: ResolvedPath, keep: boolean, value: unknown): Target {
  const { field, number } = path.last;
  if (!field) {
    const pieces = [unknownField(number, value, path.text)];
    return { ...at(path), kind: "whole", keep, pieces, shown: JSON.stringify(REDACTED) };
  }
  const pieces = encodeField(field, value, path.text);
  const shown = shownReader.field(field, Buffer.concat(pieces));
  return { ...at(path), kind: "whole", keep, pieces, shown: shown === undefined ? "[]" : shownText(shown) };
}

/** The last value of a bytes field: of a key. */
function lastValue(message: Buffer, number: number): Buffer {
  let found: Buffer = Buffer.alloc(0);
  eachValue(message, number, (start, end) => {
    found = message.subarray(start, end);
  });
  return found;
}

/** `key: value` for a map or a list with keys. The value of KeyValue may stand alone; others are whole elements. */
function entryOf(field: Field, key: string, value: unknown, path: string): Omit<Entry, "tagged"> {
  const keyField = keyFieldOf(field);
  const keyBytes = Buffer.from(key, "utf8");
  const text = keyText(key);
  if (!keyField) {
    const bytes = encodeValue(field, value, path);
    const shown = JSON.stringify(shownReader.entryValue(field, key, bytes.toString()));
    return { key, keyBytes, element: entryBytes(keyBytes, bytes), value: bytes, text, shown };
  }
  const valueField = field.message === "KeyValue" ? messageType("KeyValue").byName.get("value") : undefined;
  if (valueField && !mappingOf(value)) {
    const bytes = encodeValue(valueField, value, path);
    return {
      key,
      keyBytes,
      element: entryBytes(keyBytes, bytes),
      value: bytes,
      text,
      shown: shownValue(valueField, bytes),
    };
  }
  const given = encodeValue(field, value, path);
  const own = lastValue(given, keyField.number);
  if (own.length > 0 && !own.equals(keyBytes)) {
    throw pathError(path, `${keyField.name} differs from the key that the path names`);
  }
  const element = own.length > 0 ? given : Buffer.concat([bytesField(keyField.number, keyBytes), given]);
  return { key, keyBytes, element, value: undefined, text, shown: shownValue(field, element) };
}

/** Elements that name themselves, as entries. */
function keyedElements(field: Field, value: unknown, path: string): Omit<Entry, "tagged">[] {
  const keyField = keyFieldOf(field);
  const seen = new Set<string>();
  return encodeElements(field, Array.isArray(value) ? value : [value], path).map((element, index) => {
    const keyBytes = lastValue(element, keyField?.number ?? 0);
    const key = keyBytes.toString("utf8");
    if (key === "") throw pathError(`${path}[${index}]`, `names no ${keyField?.name}`);
    if (seen.has(key)) throw pathError(`${path}[${index}]`, `is the second with this ${keyField?.name}`);
    seen.add(key);
    const shown = shownValue(field, element);
    return { key, keyBytes, element, value: undefined, text: keyText(key), shown };
  });
}

function entryTarget(
  path: ResolvedPath,
  keep: boolean,
  field: Field,
  entries: readonly Omit<Entry, "tagged">[],
): Target {
  const tagged = entries.map((entry) => ({ ...entry, tagged: bytesField(field.number, entry.element) }));
  return { ...at(path), kind: "entries", keep, field, entries: tagged };
}

const hasKeys = (field: Field) => field.map || keyFieldOf(field) !== undefined;

/** `set` and `add` with one value. */
function valueTarget(path: ResolvedPath, keep: boolean, value: unknown): Target {
  const { field, selector } = path.last;
  if (!field) return whole(path, keep, value);
  if (selector?.by === "key")
    return entryTarget(path, keep, field, [entryOf(field, selector.key, value, path.text)]);
  if (selector) return { ...at(path), kind: "element", field, element: encodeValue(field, value, path.text) };
  if (!keep || !(field.repeated || field.map)) return whole(path, keep, value);
  if (field.map)
    return valuesTargets(path, keep, mappingOf(value) ?? [["", value]])[0] ?? whole(path, keep, value);
  if (hasKeys(field)) return entryTarget(path, keep, field, keyedElements(field, value, path.text));
  const elements = encodeElements(field, Array.isArray(value) ? value : [value], path.text);
  return { ...at(path), kind: "append", field, elements };
}

/** `set` and `add` with several values below the path. */
function valuesTargets(path: ResolvedPath, keep: boolean, values: readonly [string, unknown][]): Target[] {
  const { field, selector } = path.last;
  if (values.length === 0) throw pathError(path.text, "names no values");
  if (field && !selector && hasKeys(field)) {
    const entries = values.map(([key, value]) => entryOf(field, key, value, `${path.text}${keyText(key)}`));
    return [entryTarget(path, keep, field, entries)];
  }
  return values.map(([name, value]) =>
    valueTarget(resolvePath(path.message, `${path.text}.${name}`), keep, value),
  );
}

function withWhere(path: ResolvedPath, spec: MutationSpec): Target {
  const { op, value, values, valuesOf, where } = spec;
  const { field } = path.last;
  if (!where) throw pathError(path.text, `${op} needs to say where`);
  if (!field) throw pathError(path.text, `is not known: ${op} cannot tell its elements apart`);
  const target = { ...at(path), kind: "where" as const, field, where };
  if (op === "removeWhere") return { ...target, element: undefined, inner: undefined };
  if (values === undefined && valuesOf === undefined) {
    return { ...target, element: encodeValue(field, value, path.text), inner: undefined };
  }
  const message = field.message ?? "";
  const within = (given: Readonly<Record<string, unknown>>) =>
    Object.entries(given).flatMap(([name, one]) =>
      targetsOf(resolvePath(message, name), { op: "set", path: name, value: one }),
    );
  if (valuesOf) return { ...target, element: undefined, inner: (index) => within(valuesOf(index)) };
  const same = within(values ?? {});
  return { ...target, element: undefined, inner: () => same };
}

/** Everything about a mutation that is wrong whatever its value is. */
export function checkShape(path: ResolvedPath, spec: MutationSpec): void {
  const { op, value, values, valuesOf, where } = spec;
  const { field, selector } = path.last;
  const fail = (why: string): never => {
    throw pathError(path.text, why);
  };
  const wantsValue = op === "set" || op === "add" || op === "replaceWhere";
  if (!wantsValue && (value !== undefined || values !== undefined)) fail(`${op} takes no value`);
  if (wantsValue && valuesOf === undefined && (value === undefined) === (values === undefined))
    fail(`${op} needs value or values, one of them`);
  if (values !== undefined && !mappingOf(values)) fail("values must be a mapping");
  if (op === "removeWhere" || op === "replaceWhere") {
    if (field && (!field.repeated || selector)) fail(`${op} is for the elements of a list`);
    if (values !== undefined && !isMessage(field)) fail("its elements have no fields: use value");
    return;
  }
  if (where !== undefined) fail(`${op} takes no where: use removeWhere or replaceWhere`);
  if (op === "remove") return;
  checkSet(path, op, values !== undefined);
}

function checkSet(path: ResolvedPath, op: MutationOp, several: boolean): void {
  const { field, selector } = path.last;
  if (several && (!field || !(hasKeys(field) || isMessage(field)) || (field.map && selector))) {
    throw pathError(path.text, "has no entries or fields: use value");
  }
  if (several && field?.repeated && !selector && !hasKeys(field)) {
    throw pathError(path.text, "is a list without keys: use value");
  }
  if (!field || !selector || several) return;
  if (selector.by === "index" && op === "add")
    throw pathError(path.text, "add takes no index: elements go to the end");
  if (selector.by === "key" && !hasKeys(field)) {
    const list = path.text.slice(0, path.text.lastIndexOf("["));
    throw pathError(path.text, `has no value of its own: use add with the path ${list}`);
  }
}

/** The targets of a mutation whose shape is right. Values that do not fit are `invalid` errors that name the field. */
export function targetsOf(path: ResolvedPath, spec: MutationSpec): Target[] {
  checkShape(path, spec);
  const { op, value, values } = spec;
  if (op === "remove") return [{ ...at(path), kind: "remove" }];
  if (op === "removeWhere" || op === "replaceWhere") return [withWhere(path, spec)];
  if (values !== undefined) return valuesTargets(path, op === "add", mappingOf(values) ?? []);
  return [valueTarget(path, op === "add", value)];
}

/** The step as it is written in a path. */
export function stepText({ number, field, selector }: Step): string {
  const name = field?.name ?? `#${number}`;
  if (!selector) return name;
  return selector.by === "index" ? `${name}[${selector.index}]` : `${name}${keyText(selector.key)}`;
}
