/** Sets or removes a field as a whole: a scalar, a submessage, a list or a map. */
import { type ChangeList, shownField } from "./changes.ts";
import type { Field, ScalarKind } from "./descriptors.ts";
import type { MessageEditor } from "./editor.ts";
import { FieldWalk, wireType } from "./fields.ts";
import { isBytes } from "./list.ts";
import { isDefault, isPackable, scalarValue, wireTypeOf } from "./scalar.ts";
import { Splicer } from "./splice.ts";
import { stepText, type Target } from "./targets.ts";

/** Whether this occurrence belongs to the field, rather than being some other thing with its number. */
function isOccurrence(field: Field | undefined, number: number, walk: FieldWalk): boolean {
  if (walk.number !== number) return false;
  if (!field) return true;
  return walk.type === wireTypeOf(field) || (walk.type === wireType.bytes && isPackable(field));
}

/** The message with `pieces` where the first occurrence was, or at its end, and without the other ones. */
function withField(
  message: Buffer,
  { field, number }: Target,
  pieces: readonly Uint8Array[],
): Buffer | undefined {
  const splicer = new Splicer(message);
  const walk = new FieldWalk(message);
  let placed = false;
  while (walk.next()) {
    if (!isOccurrence(field, number, walk)) continue;
    splicer.replace(walk.start, walk.end, ...(placed ? [] : pieces));
    placed = true;
  }
  return placed ? splicer.finish() : splicer.finish(...pieces);
}

/** Where the occurrences of a field lie, as far as it matters for comparing. */
interface Occurrences {
  readonly count: number;
  /** Tag included. */
  readonly last: { readonly start: number; readonly valueStart: number; readonly end: number } | undefined;
  /** All of them together, tags included. */
  readonly bytes: Buffer[];
  /** Whether one of them is more than an empty run of packed numbers. */
  readonly said: boolean;
}

function occurrencesOf(message: Buffer, { field, number }: Target): Occurrences {
  const bytes: Buffer[] = [];
  let last: Occurrences["last"];
  let said = false;
  const packable = field !== undefined && isPackable(field);
  const walk = new FieldWalk(message);
  while (walk.next()) {
    if (!isOccurrence(field, number, walk)) continue;
    const { start, valueStart, end } = walk;
    last = { start, valueStart, end };
    said ||= end > valueStart || !packable;
    // Of a singular scalar only the last one counts.
    if (bytes.length === 0 || !field || field.repeated || field.map || field.kind === "message") {
      bytes.push(message.subarray(start, end));
    }
  }
  return { count: bytes.length, last, bytes, said };
}

function isSingularScalar(field: Field | undefined): field is Field & { kind: ScalarKind | "enum" } {
  return field !== undefined && !field.repeated && !field.map && field.kind !== "message";
}

function decoded(field: Field, bytes: Buffer): unknown {
  const walk = new FieldWalk(bytes);
  return walk.next() ? scalarValue(field, bytes, walk.valueStart, walk.end) : undefined;
}

function isSame(target: Target & { kind: "whole" }, message: Buffer, found: Occurrences): boolean {
  const wanted = Buffer.concat(target.pieces);
  const { field } = target;
  if (!isSingularScalar(field)) {
    // An empty submessage differs from none at all; an empty list does not.
    const emptyDiffers = field?.kind === "message" && !field.repeated;
    if (found.count === 0 && emptyDiffers) return false;
    return wanted.equals(Buffer.concat(found.bytes));
  }
  const { last } = found;
  if (wireTypeOf(field) === wireType.bytes) {
    const walk = new FieldWalk(wanted);
    walk.next();
    const body = wanted.subarray(walk.valueStart, walk.end);
    return last ? isBytes(message, last.valueStart, last.end, body) : body.length === 0;
  }
  if (!last) return isDefaultField(field, wanted);
  return Object.is(scalarValue(field, message, last.valueStart, last.end), decoded(field, wanted));
}

function isDefaultField(field: Field, bytes: Buffer): boolean {
  const walk = new FieldWalk(bytes);
  return !walk.next() || isDefault(field, bytes, walk.valueStart, walk.end);
}

/** Whether there is anything: a scalar that says its default says nothing. */
function isThere(field: Field | undefined, message: Buffer, { said, last }: Occurrences): boolean {
  if (!isSingularScalar(field)) return said;
  return last !== undefined && !isDefault(field, message, last.valueStart, last.end);
}

export function setWhole(
  editor: MessageEditor,
  target: Target & { kind: "whole" },
  list: ChangeList,
  prefix: string,
): void {
  const message = editor.bytesFor(target.number);
  const found = occurrencesOf(message, target);
  const there = isThere(target.field, message, found);
  const name = `${prefix}${stepText(target.path.last)}`;
  const before = there ? shownField(target.field, target.number, message) : undefined;
  if ((target.keep && there) || isSame(target, message, found)) {
    list.add(name, "kept", { before });
    return;
  }
  editor.accept(withField(message, target, target.pieces));
  list.add(name, there ? "changed" : "added", { before, after: target.shown });
}

export function removeWhole(editor: MessageEditor, target: Target, list: ChangeList, prefix: string): void {
  const message = editor.bytesFor(target.number);
  if (!isThere(target.field, message, occurrencesOf(message, target))) return;
  const before = shownField(target.field, target.number, message);
  editor.accept(withField(message, target, []));
  list.add(`${prefix}${stepText(target.path.last)}`, "removed", { before });
}
