/**
 * Reads the protobuf wire without decoding messages: a walk over the fields of one level that copies nothing.
 * What cannot be parsed is an error of kind `decode`; unknown fields are simply walked over.
 */
import { TrivetError } from "../../errors.ts";

export const wireType = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

/** One field occurrence. For `bytes` (strings, messages) the value is `message.subarray(valueStart, end)`. */
export interface Field {
  readonly number: number;
  readonly type: number;
  /** Offset of the tag. */
  readonly start: number;
  /** Offset behind the tag and, for `bytes`, behind the length. */
  readonly valueStart: number;
  /** Offset behind the value. */
  readonly end: number;
}

const MAX_VARINT_BYTES = 10;

function malformed(why: string, offset: number): TrivetError {
  const subject = `byte ${offset}`;
  return new TrivetError({ kind: "decode", op: "protobuf.read", subject, message: `${why} at ${subject}` });
}

/** A varint as a number (exact up to 2^53, which tags and lengths never reach) and the offset behind it. */
function readVarint(message: Uint8Array, offset: number): { value: number; end: number } {
  let value = 0;
  let scale = 1;
  for (let index = 0; index < MAX_VARINT_BYTES; index += 1) {
    const byte = message[offset + index];
    if (byte === undefined) throw malformed("the message ends within a number", offset);
    value += (byte & 0x7f) * scale;
    scale *= 128;
    if (byte < 0x80) return { value, end: offset + index + 1 };
  }
  throw malformed("a number is longer than ten bytes", offset);
}

function valueEnd(message: Uint8Array, type: number, offset: number): { valueStart: number; end: number } {
  switch (type) {
    case wireType.varint:
      return { valueStart: offset, end: readVarint(message, offset).end };
    case wireType.fixed64:
      return { valueStart: offset, end: offset + 8 };
    case wireType.bytes: {
      const { value: length, end } = readVarint(message, offset);
      return { valueStart: end, end: end + length };
    }
    case wireType.fixed32:
      return { valueStart: offset, end: offset + 4 };
    default:
      throw malformed(`wire type ${type} is not one that the API uses`, offset);
  }
}

/** The fields of one message, in the order of the wire. */
export function* fields(message: Uint8Array): Generator<Field, void, undefined> {
  let offset = 0;
  while (offset < message.length) {
    const tag = readVarint(message, offset);
    const number = Math.floor(tag.value / 8);
    const type = tag.value % 8;
    if (number === 0) throw malformed("field number 0", offset);
    const { valueStart, end } = valueEnd(message, type, tag.end);
    if (end > message.length) throw malformed("the message ends within a field", offset);
    yield { number, type, start: offset, valueStart, end };
    offset = end;
  }
}

/** Every value of a `bytes` field (string, message, map entry), in order. */
export function values(message: Uint8Array, number: number): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (const field of fields(message)) {
    if (field.number === number && field.type === wireType.bytes) {
      found.push(message.subarray(field.valueStart, field.end));
    }
  }
  return found;
}

/**
 * A singular submessage at a path of field numbers; undefined where it is absent. All occurrences on the way are
 * joined first: to protobuf, concatenation is merging.
 */
export function submessage(message: Uint8Array, path: readonly number[]): Uint8Array | undefined {
  let current: Uint8Array | undefined = message;
  for (const number of path) {
    const parts: Uint8Array[] = values(current, number);
    if (parts.length === 0) return undefined;
    current = parts.length === 1 ? parts[0] : Buffer.concat(parts);
    if (current === undefined) return undefined;
  }
  return current;
}

/** A singular string at a path of field numbers: the last occurrence wins. Empty where it is absent. */
export function text(message: Uint8Array, path: readonly number[]): string {
  const holder = submessage(message, path.slice(0, -1));
  const last = path.at(-1);
  const value = holder && last !== undefined ? values(holder, last).at(-1) : undefined;
  return value ? Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("utf8") : "";
}
