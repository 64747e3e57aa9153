/** The values of scalar fields on the wire: one occurrence as a JavaScript value. Widths are the API's own. */
import { isUtf8 } from "node:buffer";
import { enumType, type Field } from "./descriptors.ts";
import { malformed, wireType } from "./fields.ts";

/** The wire type of one value of this field, unpacked. */
export function wireTypeOf({ kind, map }: Field): number {
  if (map || kind === "message" || kind === "string" || kind === "bytes") return wireType.bytes;
  return kind === "double" ? wireType.fixed64 : wireType.varint;
}

/** Whether a list of this field may come packed: one length, then value after value. */
export function isPackable(field: Field): boolean {
  return field.repeated && wireTypeOf(field) !== wireType.bytes;
}

// 7 bytes hold 49 bits, which a number holds exactly.
const SMALL = 7;

function smallVarint(message: Uint8Array, start: number, end: number): number {
  let value = 0;
  for (let index = end - 1; index >= start; index -= 1) value = value * 128 + ((message[index] ?? 0) & 0x7f);
  return value;
}

/** The varint from `start` to `end` as 64 bits without a sign. */
export function varintBits(message: Uint8Array, start: number, end: number): bigint {
  if (end - start <= SMALL) return BigInt(smallVarint(message, start, end));
  let value = 0n;
  for (let index = end - 1; index >= start; index -= 1) {
    value = value * 128n + BigInt((message[index] ?? 0) & 0x7f);
  }
  return BigInt.asUintN(64, value);
}

/** The lower 32 bits of a varint, as a signed number: what int32, bool and enums are cut to. */
function low32(message: Uint8Array, start: number, end: number): number {
  let value = 0;
  const stop = Math.min(end, start + 5);
  for (let index = start, shift = 0; index < stop; index += 1, shift += 7) {
    value |= ((message[index] ?? 0) & 0x7f) << shift;
  }
  return value;
}

/** Bytes as text where they are UTF-8. */
export function bytesOrText(bytes: Buffer): string | Uint8Array {
  return isUtf8(bytes) ? bytes.toString("utf8") : bytes;
}

export type ScalarValue = string | number | bigint | boolean | Uint8Array;

/** The value that lies from `start` to `end` (without tag and length). Enums are names, or numbers where we know none. */
export function scalarValue(field: Field, message: Buffer, start: number, end: number): ScalarValue {
  switch (field.kind) {
    case "string":
      return message.toString("utf8", start, end);
    case "bytes":
      return bytesOrText(message.subarray(start, end));
    case "bool":
      return varintBits(message, start, end) !== 0n;
    case "int32":
      return low32(message, start, end);
    case "uint32":
      return low32(message, start, end) >>> 0;
    case "int64":
      return BigInt.asIntN(64, varintBits(message, start, end));
    case "uint64":
      return varintBits(message, start, end);
    case "double":
      return message.readDoubleLE(start);
    default: {
      const number = low32(message, start, end);
      return enumType(field.enumName ?? "").nameOf.get(number) ?? number;
    }
  }
}

/** What an absent scalar of this field means. */
export function defaultValue(field: Field): ScalarValue {
  switch (field.kind) {
    case "string":
    case "bytes":
      return "";
    case "bool":
      return false;
    case "int64":
    case "uint64":
      return 0n;
    case "enum":
      return enumType(field.enumName ?? "").nameOf.get(0) ?? 0;
    default:
      return 0;
  }
}

/** Whether bytes of this field and kind mean the default, as an absent field does. */
export function isDefault(field: Field, message: Uint8Array, start: number, end: number): boolean {
  const type = wireTypeOf(field);
  if (type === wireType.bytes) return start === end;
  if (type === wireType.varint) return varintBits(message, start, end) === 0n;
  return message.subarray(start, end).every((byte) => byte === 0);
}

/** Where the packed value that begins at `start` ends; an error of kind `decode` where that is not before `limit`. */
export function packedEnd(field: Field, message: Uint8Array, start: number, limit: number): number {
  let end = start + 8;
  if (field.kind !== "double") {
    end = start;
    while (end < limit && (message[end] ?? 0) >= 0x80) end += 1;
    end += 1;
    if (end - start > 10) throw malformed("a number is longer than ten bytes", start);
  }
  if (end > limit) throw malformed("a packed list ends within a number", start);
  return end;
}
