/**
 * Sets or adds entries by key: of maps, of the environment, of mounts and the like. All keys of a mutation are looked for
 * in one walk. A map's last entry of a key counts; of an environment the first does, so that one that is set is the only
 * one afterwards.
 */

import { type ChangeList, shownReader, shownValue } from "./changes.ts";
import type { Field } from "./descriptors.ts";
import type { MessageEditor } from "./editor.ts";
import { bytesField } from "./encode.ts";
import { FieldWalk, wireType } from "./fields.ts";
import { eachOf, isBytes, KeyScan, keyNumberOf, rewriteList } from "./list.ts";
import { readEntry } from "./read.ts";
import { REDACTED } from "./redaction.ts";
import { Splicer } from "./splice.ts";
import type { Entry, Target } from "./targets.ts";

/** Field 2 of a map's entry and of KeyValue. */
const VALUE = 2;

/** Where an entry stands in the message now. */
interface Found {
  count: number;
  first: readonly [start: number, end: number];
  last: readonly [start: number, end: number];
}

function find(message: Buffer, field: Field, entries: readonly Entry[]): (Found | undefined)[] {
  const found: (Found | undefined)[] = entries.map(() => undefined);
  const keyNumber = keyNumberOf(field) ?? 1;
  const key = new KeyScan();
  eachOf(message, field, (start, end) => {
    key.read(message, keyNumber, start, end);
    for (let index = 0; index < entries.length; index += 1) {
      const { keyBytes } = entries[index] ?? {};
      if (!keyBytes || !isBytes(message, key.start, key.end, keyBytes)) continue;
      const known = found[index];
      if (known) {
        known.count += 1;
        known.last = [start, end];
      } else found[index] = { count: 1, first: [start, end], last: [start, end] };
    }
  });
  return found;
}

/** Whether the element says already what the entry wants. */
function isSame(
  message: Buffer,
  [start, end]: readonly [number, number],
  { value, element }: Entry,
): boolean {
  if (!value) return isBytes(message, start, end, element);
  const scan = new KeyScan(); // the last occurrence counts, of a value as of a key
  scan.read(message, VALUE, start, end);
  return isBytes(message, scan.start, scan.end, value);
}

/** The element with another value, and all else as it was. */
function withValue(
  message: Buffer,
  [start, end]: readonly [number, number],
  value: Buffer,
): Buffer | undefined {
  const splicer = new Splicer(message, start, end);
  const field = bytesField(VALUE, value);
  const walk = new FieldWalk(message, start, end);
  let placed = false;
  while (walk.next()) {
    if (walk.number !== VALUE || walk.type !== wireType.bytes) continue;
    splicer.replace(walk.start, walk.end, ...(placed ? [] : [field]));
    placed = true;
  }
  return placed ? splicer.finish() : splicer.finish(field);
}

/** An element as it is shown: of a map's entry and of KeyValue the value alone, as it is set. */
function shown(field: Field, { key, value }: Entry, element: Buffer): string {
  if (field.map) return JSON.stringify(shownReader.entryValue(field, key, readEntry(element).value));
  if (value) return JSON.stringify(REDACTED);
  return shownValue(field, element);
}

export function editEntries(
  editor: MessageEditor,
  target: Target & { kind: "entries" },
  list: ChangeList,
  prefix: string,
): void {
  const { field, entries, keep } = target;
  const message = editor.bytesFor(field.number);
  const found = find(message, field, entries);
  const tail: Buffer[] = [];
  const replaced = new Map<number, Buffer>(); // by where the element starts
  const removed: Entry[] = [];
  for (const [index, entry] of entries.entries()) {
    const name = `${prefix}${field.name}${entry.text}`;
    const known = found[index];
    if (!known) {
      tail.push(entry.tagged);
      list.add(name, "added", { after: entry.shown });
      continue;
    }
    const counts = field.map ? known.last : known.first;
    const before = shown(field, entry, message.subarray(...counts));
    const alone = field.map || known.count === 1;
    if (keep || (alone && isSame(message, counts, entry))) {
      list.add(name, "kept", { before });
      continue;
    }
    const element = entry.value && !field.map ? withValue(message, known.first, entry.value) : entry.element;
    replaced.set(known.first[0], element ?? entry.element);
    if (known.count > 1) removed.push(entry);
    list.add(name, "changed", { before, after: entry.shown });
  }
  if (replaced.size === 0) {
    if (tail.length > 0) editor.accept(Buffer.concat([message, ...tail]));
    return;
  }
  editor.accept(rewriteList(message, field, verdict(message, field, replaced, removed), tail));
}

function verdict(
  message: Buffer,
  field: Field,
  replaced: ReadonlyMap<number, Buffer>,
  removed: readonly Entry[],
) {
  const keyNumber = keyNumberOf(field) ?? 1;
  const key = new KeyScan();
  return (start: number, end: number): Buffer | null | undefined => {
    const element = replaced.get(start);
    if (element || removed.length === 0) return element;
    key.read(message, keyNumber, start, end);
    return removed.some(({ keyBytes }) => isBytes(message, key.start, key.end, keyBytes)) ? null : undefined;
  };
}
