/**
 * A message for expressions: each field is looked for when it is asked for, once, and nothing else is decoded. Every type
 * of message has a class of its own with the field names of the .proto as properties, as CEL's type registry wants it.
 */
import { TrivetError } from "../../errors.ts";
import { type Field, type MessageType, messageType } from "./descriptors.ts";
import { FieldWalk, joined } from "./fields.ts";
import { eachOf } from "./list.ts";
import { asBuffer, readEntry } from "./read.ts";
import { defaultValue, isDefault, scalarValue, wireTypeOf } from "./scalar.ts";

export type LazyScalar = string | bigint | number | boolean | Uint8Array;
/** Absent scalars are their defaults, absent lists and maps empty; an absent submessage is undefined. */
export type LazyValue = LazyScalar | LazyValue[] | Map<string, string> | LazyMessage | undefined;

export interface LazyOptions {
  /**
   * The most elements of a list or entries of a map that are read: with more, reading that field is an error of kind
   * `range`, so that no message can make an expression run for long.
   */
  readonly maxItems: number;
}

export class LazyMessage {
  readonly #type: MessageType;
  readonly #bytes: Buffer;
  readonly #options: LazyOptions;
  readonly #values = new Map<string, LazyValue>();

  constructor(type: MessageType, bytes: Buffer, options: LazyOptions) {
    this.#type = type;
    this.#bytes = bytes;
    this.#options = options;
  }

  /**
   * The value of a field: whole numbers of any width as bigint, enums as names (as digits where we know no name), bytes as
   * text where they are UTF-8. Undefined for a name that the message does not have.
   */
  get(name: string): LazyValue {
    if (this.#values.has(name)) return this.#values.get(name);
    const field = this.#type.byName.get(name);
    const value = field && this.#read(field);
    this.#values.set(name, value);
    return value;
  }

  /** Whether a field says something: a submessage that is there, a list that is not empty, a scalar that is no default. */
  has(name: string): boolean {
    const field = this.#type.byName.get(name);
    if (!field) return false;
    let found = false;
    const walk = new FieldWalk(this.#bytes);
    while (walk.next()) {
      if (walk.number !== field.number) continue;
      if (field.repeated || field.map) found ||= walk.end > walk.valueStart;
      else if (walk.type !== wireTypeOf(field)) continue;
      else found = field.kind === "message" || !isDefault(field, this.#bytes, walk.valueStart, walk.end);
    }
    return found;
  }

  #read(field: Field): LazyValue {
    if (field.map) return this.#map(field);
    if (field.repeated) return this.#list(field);
    if (field.kind === "message") {
      const bytes = joined(this.#bytes, field.number);
      return bytes && lazyOf(field.message ?? "", bytes, this.#options);
    }
    const type = wireTypeOf(field);
    let value: LazyScalar | undefined;
    const walk = new FieldWalk(this.#bytes);
    let [start, end] = [-1, -1];
    while (walk.next()) {
      if (walk.number === field.number && walk.type === type) [start, end] = [walk.valueStart, walk.end];
    }
    if (start >= 0) value = lazyScalar(field, this.#bytes, start, end);
    return value ?? widened(field, defaultValue(field));
  }

  #list(field: Field): LazyValue[] {
    const list: LazyValue[] = [];
    eachOf(this.#bytes, field, (start, end) => {
      this.#limit(field, list.length);
      const value =
        field.kind === "message"
          ? lazyOf(field.message ?? "", this.#bytes.subarray(start, end), this.#options)
          : lazyScalar(field, this.#bytes, start, end);
      list.push(value);
    });
    return list;
  }

  #map(field: Field): Map<string, string> {
    const map = new Map<string, string>();
    eachOf(this.#bytes, field, (start, end) => {
      this.#limit(field, map.size);
      const { key, value } = readEntry(this.#bytes.subarray(start, end));
      map.set(key, value);
    });
    return map;
  }

  #limit(field: Field, size: number): void {
    const { maxItems } = this.#options;
    if (size < maxItems) return;
    const subject = `${this.#type.name}.${field.name}`;
    const message = `${subject} has more than ${maxItems} elements, which no expression is given`;
    throw new TrivetError({ kind: "range", op: "protobuf.read", subject, message });
  }
}

function lazyScalar(field: Field, message: Buffer, start: number, end: number): LazyScalar {
  return widened(field, scalarValue(field, message, start, end));
}

function widened(field: Field, value: LazyScalar): LazyScalar {
  if (typeof value !== "number" || field.kind === "double") return value;
  return field.kind === "enum" ? String(value) : BigInt(value);
}

type LazyClass = new (bytes: Buffer, options: LazyOptions) => LazyMessage;

const classes = new Map<string, LazyClass>();

/** The class of the message of this name: its objects have a property for each field. */
export function lazyClass(messageName: string): LazyClass {
  const known = classes.get(messageName);
  if (known) return known;
  const type = messageType(messageName);
  const made = class extends LazyMessage {
    constructor(bytes: Buffer, options: LazyOptions) {
      super(type, bytes, options);
    }
  };
  Object.defineProperty(made, "name", { value: messageName });
  for (const { name } of type.fields) {
    Object.defineProperty(made.prototype, name, {
      enumerable: true,
      get(this: LazyMessage) {
        return this.get(name);
      },
    });
  }
  classes.set(messageName, made);
  return made;
}

function lazyOf(messageName: string, bytes: Buffer, options: LazyOptions): LazyMessage {
  return new (lazyClass(messageName))(bytes, options);
}

/** `bytes`, a message of the type `messageName`, to be read field by field. What is malformed throws when it is met. */
export function lazyMessage(messageName: string, bytes: Uint8Array, options: LazyOptions): LazyMessage {
  return lazyOf(messageName, asBuffer(bytes), options);
}

/** The type of a field in CEL: `list<Mount>`, `map<string, string>`, `int`. */
export function celType(field: Field): string {
  if (field.map) return "map<string, string>";
  const type = field.message ?? (field.enumName === undefined ? celScalar(field) : "string");
  return field.repeated ? `list<${type}>` : type;
}

function celScalar({ kind }: Field): string {
  if (kind === "bytes") return "dyn"; // text, or bytes where they are no text
  return kind === "string" || kind === "bool" || kind === "double" ? kind : "int";
}
