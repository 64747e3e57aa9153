/** Edits lists element by element: adds what is missing, replaces and removes. */
import { type ChangeList, shownReader, shownText, shownValue } from "./changes.ts";
import type { Field } from "./descriptors.ts";
import { MessageEditor } from "./editor.ts";
import { bytesMatcher, eachOf, elementLabel, isBytes, rewriteList, type Verdict } from "./list.ts";
import { jsonText, PlainReader } from "./read.ts";
import { REDACTED } from "./redaction.ts";
import { stepText, type Target } from "./targets.ts";
import { elementFields } from "./value.ts";

/** In these the same word may well come twice: they are appended to as a whole, unless they end so already. */
const sequences: ReadonlySet<string> = new Set(["command", "args", "cmd"]);

const plainReader = new PlainReader({ redact: false });

/** Whether an element of the message is this one: by its bytes or, for a message, by what it says. */
function isEqual(field: Field, message: Buffer, range: readonly [number, number], element: Buffer): boolean {
  const [start, end] = range;
  if (isBytes(message, start, end, element)) return true;
  if (field.kind !== "message") return false;
  const own = message.subarray(start, end);
  return jsonText(plainReader.value(field, own)) === jsonText(plainReader.value(field, element));
}

/** Whether the list, which has `count` elements, ends with these. */
function endsWith(field: Field, message: Buffer, elements: readonly Buffer[], count: number): boolean {
  const from = count - elements.length;
  let same = from >= 0;
  eachOf(message, field, (start, end, index) => {
    const element = elements[index - from];
    if (same && element) same = isEqual(field, message, [start, end], element);
  });
  return same;
}

function countOf(field: Field, message: Buffer): number {
  let count = 0;
  eachOf(message, field, () => {
    count += 1;
  });
  return count;
}

function missingOf(field: Field, message: Buffer, elements: readonly Buffer[]): Set<Buffer> {
  const missing = new Set(elements);
  for (const [index, element] of elements.entries()) {
    if (elements.findIndex((other) => other.equals(element)) < index) missing.delete(element);
  }
  eachOf(message, field, (start, end) => {
    for (const element of missing)
      if (isEqual(field, message, [start, end], element)) missing.delete(element);
  });
  return missing;
}

export function appendElements(
  editor: MessageEditor,
  { field, elements }: Target & { kind: "append" },
  list: ChangeList,
  prefix: string,
): void {
  const message = editor.bytesFor(field.number);
  let count = countOf(field, message);
  let missing: ReadonlySet<Buffer>;
  if (sequences.has(field.name)) missing = new Set(endsWith(field, message, elements, count) ? [] : elements);
  else missing = missingOf(field, message, elements);
  for (const element of elements) {
    const added = missing.has(element);
    const label = elementLabel(field, element, 0, element.length, count);
    if (added) count += 1;
    const after = added ? shownValue(field, element) : undefined;
    list.add(
      `${prefix}${field.name}${added || !label.match(/^\[\d+\]$/) ? label : ""}`,
      added ? "added" : "kept",
      { after },
    );
  }
  if (missing.size === 0) return;
  editor.accept(
    Buffer.concat([
      message,
      ...elementFields(
        field,
        elements.filter((one) => missing.has(one)),
      ),
    ]),
  );
}

export function setElement(
  editor: MessageEditor,
  target: Target & { kind: "element" },
  list: ChangeList,
  prefix: string,
): void {
  const { field, element, path } = target;
  const { selector } = path.last;
  if (!selector) return;
  const message = editor.bytesFor(field.number);
  const matches = bytesMatcher(field, selector);
  const name = `${prefix}${stepText(path.last)}`;
  const edited = rewriteList(message, field, (start, end, index) => {
    if (!matches(message, start, end, index)) return undefined;
    const before = shownValue(field, message.subarray(start, end));
    const same = isBytes(message, start, end, element);
    list.add(name, same ? "kept" : "changed", {
      before,
      after: same ? undefined : shownValue(field, element),
    });
    return same ? undefined : element;
  });
  editor.accept(edited);
}

/** An element, or the entry of a map, as it is shown; of an entry and of KeyValue the value alone. */
function shownElement(field: Field, element: Buffer): string {
  if (field.message === "KeyValue") return JSON.stringify(REDACTED);
  if (!field.map) return shownValue(field, element);
  const map = shownReader.field(field, Buffer.concat(elementFields(field, [element])));
  return shownText(map instanceof Map ? ([...map.values()][0] ?? "") : "");
}

export function removeElements(
  editor: MessageEditor,
  target: Target,
  list: ChangeList,
  prefix: string,
): void {
  const { field, path } = target;
  const { selector } = path.last;
  if (!field || !selector) return;
  const message = editor.bytesFor(field.number);
  const matches = bytesMatcher(field, selector);
  const edited = rewriteList(message, field, (start, end, index) => {
    if (!matches(message, start, end, index)) return undefined;
    // Not as the path names it: an argument that is selected by what it is must not be shown either.
    const label = list.open ? elementLabel(field, message, start, end, index) : "";
    const before = list.open ? shownElement(field, message.subarray(start, end)) : undefined;
    list.add(`${prefix}${field.name}${label}`, "removed", { before });
    return null;
  });
  editor.accept(edited);
}

interface WhereEdit {
  readonly target: Target & { kind: "where" };
  readonly list: ChangeList;
  readonly prefix: string;
  readonly runInner: (root: MessageEditor, target: Target, list: ChangeList, prefix: string) => void;
}

export function editWhere(editor: MessageEditor, edit: WhereEdit): void {
  const { target, list, prefix, runInner } = edit;
  const { field, element, inner, where } = target;
  const message = editor.bytesFor(field.number);
  const verdict = (start: number, end: number, index: number): Verdict => {
    const item = message.subarray(start, end);
    if (!where(item, index)) return undefined;
    const name = list.open ? `${prefix}${field.name}${elementLabel(field, message, start, end, index)}` : "";
    if (inner) {
      const one = new MessageEditor(item);
      for (const target of inner(index)) runInner(one, target, list, `${name}.`);
      return one.finish();
    }
    const same = element !== undefined && isBytes(message, start, end, element);
    const before = list.open ? shownElement(field, item) : undefined;
    if (!element) list.add(name, "removed", { before });
    else
      list.add(name, same ? "kept" : "changed", {
        before,
        after: same ? undefined : shownValue(field, element),
      });
    return same ? undefined : (element ?? null);
  };
  editor.accept(rewriteList(message, field, verdict));
}
