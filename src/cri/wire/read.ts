/**
 * Reads a message into plain values: for people, records and comparisons. What must not be shown can be left out on the
 * way, so that it never exists outside. Only what the descriptors know is read.
 */
import { type Field, messageType } from "./descriptors.ts";
import { eachValue, FieldWalk, joinedParts, wireType } from "./fields.ts";
import { isSecretKey, REDACTED } from "./redaction.ts";
import { isPackable, packedEnd, type ScalarValue, scalarValue, wireTypeOf } from "./scalar.ts";

/**
 * 64-bit numbers are bigint, enums their names (numbers where we know none), bytes text where they are UTF-8, maps Map.
 */
export type PlainValue = ScalarValue | PlainValue[] | Map<string, string> | PlainMessage;

/** Fields by their names in the .proto; a field that is not on the wire is not here either. */
export interface PlainMessage {
  [field: string]: PlainValue;
}

export interface ReadOptions {
  /** Whether what must not be shown reads as `[redacted]`. */
  readonly redact: boolean;
  /** Elements of a list, entries of a map: those behind are left out. All if not given. */
  readonly maxItems?: number;
  /** Text longer than this is cut, and ends with `…`. Not cut if not given. */
  readonly maxText?: number;
}

/** All fields of `bytes`, a message of the type `messageName`, that we know. Throws an error of kind `decode`. */
export function readMessage(messageName: string, bytes: Uint8Array, options: ReadOptions): PlainMessage {
  return new PlainReader(options).message(messageName, asBuffer(bytes));
}

/** The same bytes as a Buffer: nothing is copied. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Reads with the same options: a message, or the values of one field. */
export class PlainReader {
  readonly #options: ReadOptions;
  readonly #maxItems: number;

  constructor(options: ReadOptions) {
    this.#options = options;
    this.#maxItems = options.maxItems ?? Number.POSITIVE_INFINITY;
  }

  message(messageName: string, message: Buffer): PlainMessage {
    const { byNumber, fields } = messageType(messageName);
    const found = this.#read(message, (number) => byNumber.get(number));
    // In the order of the .proto, however they come: equal messages read the same.
    const ordered: PlainMessage = {};
    for (const { name } of fields) {
      const value = found[name];
      if (value !== undefined) ordered[name] = value;
    }
    return ordered;
  }

  /** All that `message` holds of one field; undefined where it holds nothing. */
  field(field: Field, message: Buffer): PlainValue | undefined {
    return this.#read(message, (number) => (number === field.number ? field : undefined))[field.name];
  }

  #read(message: Buffer, fieldOf: (number: number) => Field | undefined): PlainMessage {
    const found: PlainMessage = {};
    const parts = new Map<Field, Buffer[]>();
    const walk = new FieldWalk(message);
    while (walk.next()) {
      const field = fieldOf(walk.number);
      if (!field) continue;
      if (field.kind === "message" && !field.repeated) {
        if (walk.type === wireType.bytes) addPart(parts, field, message.subarray(walk.valueStart, walk.end));
      } else this.#add(found, field, message, walk);
    }
    for (const [field, pieces] of parts) {
      found[field.name] = this.message(field.message ?? "", joinedParts(pieces));
    }
    return found;
  }

  #add(found: PlainMessage, field: Field, message: Buffer, walk: FieldWalk): void {
    const { type, valueStart, end } = walk;
    const before = Object.hasOwn(found, field.name) ? found[field.name] : undefined;
    if (field.map) {
      if (type !== wireType.bytes) return;
      const map = before instanceof Map ? before : new Map<string, string>();
      found[field.name] = map;
      this.#addEntry(map, field, message.subarray(valueStart, end));
    } else if (field.repeated) {
      if (type !== wireTypeOf(field) && !(isPackable(field) && type === wireType.bytes)) return;
      const list = Array.isArray(before) ? before : [];
      eachElement(field, message, walk, (from, to) => {
        found[field.name] = list; // an empty run of packed numbers says nothing
        if (list.length < this.#maxItems) list.push(this.value(field, message.subarray(from, to)));
      });
    } else if (type === wireTypeOf(field)) {
      found[field.name] = this.value(field, message.subarray(valueStart, end));
    }
  }

  #addEntry(map: Map<string, string>, field: Field, entry: Buffer): void {
    const { key, value } = readEntry(entry);
    if (map.size >= this.#maxItems && !map.has(key)) return;
    map.set(this.#cut(key), this.entryValue(field, key, value));
  }

  /** The value of a map's entry, redacted by its field and by its key. */
  entryValue(field: Field, key: string, value: string): string {
    const hidden = this.#options.redact && (field.redact || isSecretKey(key));
    return hidden ? REDACTED : this.#cut(value);
  }

  /** One value of `field`: of a list, an element. `bytes` are without tag and length. */
  value(field: Field, bytes: Buffer): PlainValue {
    if (this.#options.redact && field.redact) return REDACTED;
    if (field.kind === "message") return this.message(field.message ?? "", bytes);
    // What is cut is not decoded either: three bytes are enough for any character that counts.
    const { maxText } = this.#options;
    const far = maxText !== undefined && bytes.length > maxText * 4 ? maxText * 4 : bytes.length;
    const value = scalarValue(field, bytes, 0, field.kind === "string" ? far : bytes.length);
    return typeof value === "string" ? this.#cut(value) : value;
  }

  #cut(text: string): string {
    const { maxText } = this.#options;
    return maxText === undefined || text.length <= maxText ? text : `${text.slice(0, maxText)}…`;
  }
}

function addPart(parts: Map<Field, Buffer[]>, field: Field, part: Buffer): void {
  const known = parts.get(field);
  if (known) known.push(part);
  else parts.set(field, [part]);
}

/** Calls `visit` with where each element lies in this occurrence of a list: one, or several where they are packed. */
export function eachElement(
  field: Field,
  message: Uint8Array,
  { type, valueStart, end }: FieldWalk,
  visit: (start: number, end: number) => void,
): void {
  if (!isPackable(field) || type !== wireType.bytes) {
    visit(valueStart, end);
    return;
  }
  for (let start = valueStart; start < end; ) {
    const next = packedEnd(field, message, start, end);
    visit(start, next);
    start = next;
  }
}

/** Key and value of a map's entry; the last occurrence of each, as everywhere. */
export function readEntry(entry: Buffer): { readonly key: string; readonly value: string } {
  let [key, value] = ["", ""];
  eachValue(entry, 1, (start, end) => {
    key = entry.toString("utf8", start, end);
  });
  eachValue(entry, 2, (start, end) => {
    value = entry.toString("utf8", start, end);
  });
  return { key, value };
}

/** Plain values as JSON: numbers of 64 bits as digits, maps as objects, bytes that are no text in base64. */
export function jsonText(value: PlainValue): string {
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "number")
    return Number.isFinite(value) ? String(value) : JSON.stringify(String(value));
  if (typeof value !== "object") return JSON.stringify(value);
  if (value instanceof Uint8Array) return JSON.stringify(`base64:${asBuffer(value).toString("base64")}`);
  if (Array.isArray(value)) return `[${value.map(jsonText).join(",")}]`;
  const entries = value instanceof Map ? [...value] : Object.entries(value);
  return `{${entries.map(([name, inner]) => `${JSON.stringify(name)}:${jsonText(inner)}`).join(",")}}`;
}
