/**
 * A protobuf message as an expression sees it: fields by the names of the .proto, decoded when they are asked for. A field
 * that is absent reads as its default, a message as an empty one, as in every language with protobuf; `has` tells the
 * difference. Knows descriptors and bytes, and nothing of expressions.
 */

import { type Field, messageType } from "../../wire/descriptors.ts";
import { FieldWalk, joined, wireType } from "../../wire/fields.ts";
import { asBuffer, eachElement, readEntry } from "../../wire/read.ts";
import { isSecretKey, REDACTED } from "../../wire/redaction.ts";
import { defaultValue, type ScalarValue, scalarValue, wireTypeOf } from "../../wire/scalar.ts";
import type { Meter } from "./cost.ts";
import { ExpressionFailure } from "./failure.ts";

/** Shared by all messages of one evaluation. */
export interface Reading {
  readonly meter: Meter;
  /** Whether what must not be shown reads as `[redacted]`: for texts that leave the process. */
  readonly redact: boolean;
}

export type CelValue = string | bigint | number | boolean | CelMessage | CelValue[] | Map<string, string>;

const MAX_ITEMS = 10_000;
const MAX_TEXT = 256 << 10;
// Bytes of a message that are walked over for one step.
const BYTES_A_STEP = 64;

export class CelMessage {
  readonly #typeName: string;
  readonly #bytes: Buffer;
  readonly #reading: Reading;
  readonly #values = new Map<string, CelValue>();

  constructor(typeName: string, bytes: Uint8Array, reading: Reading) {
    this.#typeName = typeName;
    this.#bytes = asBuffer(bytes);
    this.#reading = reading;
  }

  /** The value of a field of this type; decoded once. */
  read(field: Field): CelValue {
    const known = this.#values.get(field.name);
    if (known !== undefined) return known;
    this.#reading.meter.charge(Math.ceil(this.#bytes.length / BYTES_A_STEP));
    const value = this.#decode(field);
    this.#values.set(field.name, value);
    return value;
  }

  /** As in protobuf: a message is there or not, a list or a map has elements, a scalar differs from its default. */
  has(name: string): boolean {
    const field = messageType(this.#typeName).byName.get(name);
    if (!field) return false;
    if (field.kind === "message" && !field.repeated) return joined(this.#bytes, field.number) !== undefined;
    const value = this.read(field);
    if (value instanceof Map) return value.size > 0;
    if (Array.isArray(value)) return value.length > 0;
    return value !== toCel(field, defaultValue(field));
  }

  /** The name of its type, such as `Mount`. */
  get typeName(): string {
    return this.#typeName;
  }

  /** Its bytes, as they were given. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  #decode(field: Field): CelValue {
    if (field.map) return this.#map(field);
    if (field.repeated) return this.#list(field);
    if (field.kind === "message") {
      const type = field.message ?? "";
      return celMessage(type, joined(this.#bytes, field.number) ?? Buffer.alloc(0), this.#reading);
    }
    let value: ScalarValue = defaultValue(field);
    const walk = new FieldWalk(this.#bytes);
    while (walk.next()) {
      if (walk.number === field.number && walk.type === wireTypeOf(field)) {
        value = scalarValue(field, this.#bytes, walk.valueStart, walk.end);
      }
    }
    return this.#shown(field, toCel(field, value));
  }

  #list(field: Field): CelValue[] {
    const list: CelValue[] = [];
    const walk = new FieldWalk(this.#bytes);
    while (walk.next()) {
      if (walk.number !== field.number) continue;
      if (walk.type !== wireTypeOf(field) && walk.type !== wireType.bytes) continue;
      eachElement(field, this.#bytes, walk, (start, end) => {
        if (list.length >= MAX_ITEMS)
          throw new ExpressionFailure(`${field.name} has more than ${MAX_ITEMS} elements`);
        list.push(this.#element(field, start, end));
      });
    }
    this.#reading.meter.charge(list.length);
    return list;
  }

  #element(field: Field, start: number, end: number): CelValue {
    if (field.kind === "message") {
      return celMessage(field.message ?? "", this.#bytes.subarray(start, end), this.#reading);
    }
    return this.#shown(field, toCel(field, scalarValue(field, this.#bytes, start, end)));
  }

  #map(field: Field): Map<string, string> {
    const map = new Map<string, string>();
    const walk = new FieldWalk(this.#bytes);
    while (walk.next()) {
      if (walk.number !== field.number || walk.type !== wireType.bytes) continue;
      const { key, value } = readEntry(this.#bytes.subarray(walk.valueStart, walk.end));
      if (map.size >= MAX_ITEMS)
        throw new ExpressionFailure(`${field.name} has more than ${MAX_ITEMS} entries`);
      const hidden = this.#reading.redact && (field.redact || isSecretKey(key));
      map.set(key, hidden ? REDACTED : value);
    }
    this.#reading.meter.charge(map.size);
    return map;
  }

  #shown<T extends CelValue>(field: Field, value: T): T | string {
    if (this.#reading.redact && field.redact) return REDACTED;
    if (typeof value === "string" && value.length > MAX_TEXT) {
      throw new ExpressionFailure(`${field.name} is longer than ${MAX_TEXT} characters`);
    }
    return value;
  }
}

/** Integers are bigint; enums are names, or digits where we know none; bytes are text. */
export function toCel(field: Field, value: ScalarValue): string | bigint | number | boolean {
  if (value instanceof Uint8Array) return asBuffer(value).toString("utf8");
  if (typeof value !== "number") return value;
  if (field.kind === "enum") return String(value);
  return field.kind === "double" ? value : BigInt(value);
}

/** The name that expressions know the type of a field by. */
export function celTypeOf(field: Field): string {
  if (field.map) return "map<string, string>";
  const one = field.message ?? scalarTypes[field.kind === "message" ? "string" : field.kind];
  return field.repeated ? `list<${one}>` : one;
}

const scalarTypes = {
  string: "string",
  bytes: "string",
  enum: "string",
  bool: "bool",
  double: "double",
  int32: "int",
  int64: "int",
  uint32: "int",
  uint64: "int",
} as const;

type MessageClass = new (bytes: Uint8Array, reading: Reading) => CelMessage;
const classes = new Map<string, MessageClass>();

/** The class whose instances have the fields of this type as properties, for the expression library to read. */
export function messageClass(typeName: string): MessageClass {
  const known = classes.get(typeName);
  if (known) return known;
  const made = class extends CelMessage {
    constructor(bytes: Uint8Array, reading: Reading) {
      super(typeName, bytes, reading);
    }
  };
  for (const field of messageType(typeName).fields) {
    Object.defineProperty(made.prototype, field.name, {
      get(this: CelMessage) {
        return this.read(field);
      },
    });
  }
  classes.set(typeName, made);
  return made;
}

/** These bytes as a message of the type. */
export function celMessage(typeName: string, bytes: Uint8Array, reading: Reading): CelMessage {
  return new (messageClass(typeName))(bytes, reading);
}
