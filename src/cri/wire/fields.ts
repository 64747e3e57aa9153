/**
 * Reads the protobuf wire without decoding messages: a walk over the fields of one level that copies nothing and
 * makes no object for a field, since 16 MiB can hold eight million of them. What cannot be parsed is an error of
 * kind `decode`; unknown fields are simply walked over.
 */
import { TrivetError } from "../../errors.ts";

export const wireType = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

const MAX_VARINT_BYTES = 10;
/** The largest field number is 2^29 - 1, and the wire type has three bits. */
const MAX_TAG = 2 ** 32 - 1;

/** An error of kind `decode` about what lies at this offset. */
export function malformed(why: string, offset: number): TrivetError {
  const subject = `byte ${offset}`;
  return new TrivetError({ kind: "decode", op: "protobuf.read", subject, message: `${why} at ${subject}` });
}

/** The fields of one message, in the order of the wire. It stands on none until `next` is called. */
export class FieldWalk {
  number = 0;
  type = 0;
  /** Offset of the tag. */
  start = 0;
  /** Offset behind the tag and, for `bytes`, behind the length. */
  valueStart = 0;
  /** Offset behind the value. For `bytes` (strings, messages) that is `message.subarray(valueStart, end)`. */
  end = 0;
  readonly #message: Uint8Array;
  readonly #limit: number;
  #offset = 0;

  /** Over `message` from `from` to `to`; over all of it if they are not given. */
  constructor(message: Uint8Array, from = 0, to = message.length) {
    this.#message = message;
    this.#limit = to;
    this.end = from;
  }

  /** Goes to the next field; false behind the last one. */
  next(): boolean {
    if (this.end >= this.#limit) return false;
    this.start = this.end;
    this.#offset = this.start;
    const tag = this.#varint();
    if (tag > MAX_TAG) throw malformed("a field number beyond those that there are", this.start);
    this.number = tag >>> 3;
    this.type = tag & 7;
    if (this.number === 0) throw malformed("field number 0", this.start);
    this.#readValue();
    if (this.end > this.#limit) throw malformed("the message ends within a field", this.start);
    return true;
  }

  #readValue(): void {
    this.valueStart = this.#offset;
    switch (this.type) {
      case wireType.varint:
        this.#varint();
        this.end = this.#offset;
        return;
      case wireType.fixed64:
        this.end = this.#offset + 8;
        return;
      case wireType.bytes: {
        const length = this.#varint();
        this.valueStart = this.#offset;
        this.end = this.#offset + length;
        return;
      }
      case wireType.fixed32:
        this.end = this.#offset + 4;
        return;
      default:
        throw malformed(`wire type ${this.type} is not one that the API uses`, this.start);
    }
  }

  /** A number at the offset, which moves behind it. Exact up to 2^53, which tags and lengths never reach. */
  #varint(): number {
    const start = this.#offset;
    const first = this.#message[start];
    if (first !== undefined && first < 0x80) {
      this.#offset = start + 1; // nearly all of them
      return first;
    }
    let value = 0;
    let scale = 1;
    for (let index = start; index < start + MAX_VARINT_BYTES; index += 1) {
      const byte = this.#message[index];
      if (byte === undefined) throw malformed("the message ends within a number", start);
      value += (byte & 0x7f) * scale;
      scale *= 128;
      if (byte < 0x80) {
        this.#offset = index + 1;
        return value;
      }
    }
    throw malformed("a number is longer than ten bytes", start);
  }
}

/** Calls `visit` with where every value of a `bytes` field (string, message, map entry) lies, in order. */
export function eachValue(
  message: Uint8Array,
  number: number,
  visit: (start: number, end: number) => void,
): void {
  const walk = new FieldWalk(message);
  while (walk.next()) {
    if (walk.number === number && walk.type === wireType.bytes) visit(walk.valueStart, walk.end);
  }
}

/** All occurrences of a submessage, joined: to protobuf, concatenation is merging. Undefined where there is none. */
export function joined(message: Buffer, number: number): Buffer | undefined {
  let count = 0;
  let length = 0;
  let last = 0;
  const walk = new FieldWalk(message);
  while (walk.next()) {
    if (walk.number !== number || walk.type !== wireType.bytes) continue;
    count += 1;
    length += walk.end - walk.valueStart;
    last = walk.valueStart;
  }
  if (count === 0) return undefined;
  if (count === 1) return message.subarray(last, last + length);
  const all = Buffer.alloc(length);
  let offset = 0;
  eachValue(message, number, (start, end) => {
    if (end > start) offset += message.copy(all, offset, start, end);
  });
  return all;
}

/** These pieces as one; the piece itself where there is only one. */
export function joinedParts(parts: readonly Buffer[]): Buffer {
  const [only] = parts;
  return parts.length === 1 && only ? only : Buffer.concat(parts);
}

/** A message or a part of one, with the parts of it that were looked for; undefined for what is not there. */
interface Part {
  readonly bytes: Buffer;
  parts: Map<number, Part | undefined> | undefined;
}

/** One message that is read at several paths of field numbers: what lies on the way is looked for once. */
export class MessageReader {
  readonly #whole: Part;

  constructor(message: Uint8Array) {
    const bytes = Buffer.isBuffer(message)
      ? message
      : Buffer.from(message.buffer, message.byteOffset, message.byteLength);
    this.#whole = { bytes, parts: undefined };
  }

  /** A singular submessage; undefined where it is absent. */
  submessage(path: readonly number[]): Buffer | undefined {
    return this.#at(path, path.length)?.bytes;
  }

  /** A singular string: the last occurrence wins. Empty where it is absent. */
  text(path: readonly number[]): string {
    const holder = this.#at(path, path.length - 1);
    if (!holder) return "";
    const number = path[path.length - 1];
    const walk = new FieldWalk(holder.bytes);
    let from = 0;
    let to = 0;
    while (walk.next()) {
      if (walk.number !== number || walk.type !== wireType.bytes) continue;
      from = walk.valueStart;
      to = walk.end;
    }
    return from === to ? "" : holder.bytes.toString("utf8", from, to);
  }

  /** What the first `depth` numbers of the path lead to. */
  #at(path: readonly number[], depth: number): Part | undefined {
    let part: Part | undefined = this.#whole;
    for (let index = 0; index < depth && part; index += 1) part = partOf(part, path[index] as number);
    return part;
  }
}

function partOf(holder: Part, number: number): Part | undefined {
  holder.parts ??= new Map();
  const { parts } = holder;
  const known = parts.get(number);
  if (known || parts.has(number)) return known;
  const bytes = joined(holder.bytes, number);
  const part = bytes && { bytes, parts: undefined };
  parts.set(number, part);
  return part;
}
