/** The elements of a list on the wire, packed or not: which one is meant, how it is called, and the list rewritten. */
import type { Field } from "./descriptors.ts";
import { bytesField } from "./encode.ts";
import { keyFieldOf, keyText, type Selector } from "./field-path.ts";
import { FieldWalk, wireType } from "./fields.ts";
import { eachElement } from "./read.ts";
import { isPackable, scalarValue, wireTypeOf } from "./scalar.ts";
import { Splicer } from "./splice.ts";
import { taggedValue } from "./value.ts";

/** Where the key of an element or of a map's entry lies: its last occurrence. Empty where there is none. */
export class KeyScan {
  start = 0;
  end = 0;

  read(message: Uint8Array, keyNumber: number, from: number, to: number): void {
    if (this.#readShort(message, keyNumber, from, to)) return;
    this.start = 0;
    this.end = 0;
    const walk = new FieldWalk(message, from, to);
    while (walk.next()) {
      if (walk.number !== keyNumber || walk.type !== wireType.bytes) continue;
      this.start = walk.valueStart;
      this.end = walk.end;
    }
  }

  /** Nearly every entry is a key of less than 128 bytes, and behind it at most one more field of that size. */
  #readShort(message: Uint8Array, keyNumber: number, from: number, to: number): boolean {
    const keyTag = keyNumber * 8 + wireType.bytes;
    if (message[from] !== keyTag || keyTag > 0x7f) return false;
    const behind = from + 2 + shortLength(message, from + 1);
    if (behind !== to) {
      const other = message[behind] ?? 0;
      if (behind > to || other > 0x7f || other === keyTag || other % 8 !== wireType.bytes || other < 8)
        return false;
      if (behind + 2 + shortLength(message, behind + 1) !== to) return false;
    }
    this.start = from + 2;
    this.end = behind;
    return true;
  }
}

/** A length of one byte; one that fits nowhere if it is longer. */
function shortLength(message: Uint8Array, offset: number): number {
  const length = message[offset] ?? 0x80;
  return length < 0x80 ? length : Number.POSITIVE_INFINITY;
}

/** Whether the bytes from `start` to `end` are these. */
export function isBytes(message: Uint8Array, start: number, end: number, wanted: Uint8Array): boolean {
  if (end - start !== wanted.length) return false;
  for (let index = 0; index < wanted.length; index += 1) {
    if (message[start + index] !== wanted[index]) return false;
  }
  return true;
}

export type Matcher = (message: Buffer, start: number, end: number, index: number) => boolean;

/** The number of the field that names an element; 1 for the entries of a map. */
export function keyNumberOf(field: Field): number | undefined {
  return field.map ? 1 : keyFieldOf(field)?.number;
}

/** Whether an element is the one that the selector names. */
export function bytesMatcher(field: Field, selector: Selector): Matcher {
  if (selector.by === "index") return (_message, _start, _end, index) => index === selector.index;
  const wanted = Buffer.from(selector.key, "utf8");
  const keyNumber = keyNumberOf(field);
  if (keyNumber !== undefined) {
    const key = new KeyScan();
    return (message, start, end) => {
      key.read(message, keyNumber, start, end);
      return isBytes(message, key.start, key.end, wanted);
    };
  }
  if (wireTypeOf(field) === wireType.bytes)
    return (message, start, end) => isBytes(message, start, end, wanted);
  return (message, start, end) => String(scalarValue(field, message, start, end)) === selector.key;
}

const MAX_LABEL = 128;

/** An element in brackets, as a path would name it: by its key or, where it may be shown, by what it is. */
export function elementLabel(
  field: Field,
  message: Buffer,
  start: number,
  end: number,
  index: number,
): string {
  const keyNumber = keyNumberOf(field);
  if (keyNumber !== undefined) {
    const key = new KeyScan();
    key.read(message, keyNumber, start, end);
    if (key.end > key.start && key.end - key.start <= MAX_LABEL) {
      return keyText(message.toString("utf8", key.start, key.end));
    }
  } else if (field.kind === "string" && !field.redact && end > start && end - start <= MAX_LABEL) {
    return keyText(message.toString("utf8", start, end));
  }
  return `[${index}]`;
}

/** What becomes of an element: it stays (undefined), goes (null), or is replaced. */
export type Verdict = Uint8Array | null | undefined;

function isElement(field: Field, walk: FieldWalk): boolean {
  if (walk.number !== field.number) return false;
  return walk.type === wireTypeOf(field) || (walk.type === wireType.bytes && isPackable(field));
}

/** Calls `visit` for each element of a list, or entry of a map. Its position is counted over all occurrences. */
export function eachOf(
  message: Uint8Array,
  field: Field,
  visit: (start: number, end: number, index: number) => void,
): void {
  const type = wireTypeOf(field);
  const packable = isPackable(field);
  const walk = new FieldWalk(message);
  let index = 0;
  while (walk.next()) {
    if (walk.number !== field.number) continue;
    if (walk.type === type) {
      visit(walk.valueStart, walk.end, index);
      index += 1;
    } else if (packable && walk.type === wireType.bytes) {
      eachElement(field, message, walk, (start, end) => {
        visit(start, end, index);
        index += 1;
      });
    }
  }
}

/** The message with each element as `visit` wants it, and `tail` behind it; undefined if nothing changed. */
export function rewriteList(
  message: Buffer,
  field: Field,
  visit: (start: number, end: number, index: number) => Verdict,
  tail: readonly Uint8Array[] = [],
): Buffer | undefined {
  const splicer = new Splicer(message);
  const walk = new FieldWalk(message);
  let index = 0;
  while (walk.next()) {
    if (!isElement(field, walk)) continue;
    if (walk.type === wireTypeOf(field)) {
      const verdict = visit(walk.valueStart, walk.end, index);
      index += 1;
      if (verdict === null) splicer.replace(walk.start, walk.end);
      else if (verdict) splicer.replace(walk.start, walk.end, taggedValue(field, verdict));
      continue;
    }
    const run = new Splicer(message, walk.valueStart, walk.end);
    eachElement(field, message, walk, (start, end) => {
      const verdict = visit(start, end, index);
      index += 1;
      if (verdict === null) run.replace(start, end);
      else if (verdict) run.replace(start, end, verdict);
    });
    const packed = run.finish();
    if (!packed) continue;
    if (packed.length === 0) splicer.replace(walk.start, walk.end);
    else splicer.replace(walk.start, walk.end, bytesField(field.number, packed));
  }
  return splicer.finish(...tail);
}
