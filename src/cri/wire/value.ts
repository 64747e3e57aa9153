/**
 * Values that people write, from YAML or from an expression, as protobuf by the descriptors. What does not fit is an
 * error of kind `invalid` that names the field and says what it takes; the value is never told, since it may be secret.
 */
import { enumType, type Field, messageType } from "./descriptors.ts";
import { bytesField, entryBytes, tag, varint } from "./encode.ts";
import { keyText, pathError } from "./field-path.ts";
import { nearestName } from "./nearest.ts";
import { isPackable, wireTypeOf } from "./scalar.ts";

/** What somebody wrote instead, in words. */
function kindOf(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "string") return "text";
  if (typeof value === "boolean") return "true or false";
  if (typeof value === "number" || typeof value === "bigint") return "a number";
  return value instanceof Uint8Array ? "bytes" : "a mapping";
}

function wrong(path: string, wanted: string, value: unknown): Error {
  return pathError(path, `must be ${wanted}, not ${kindOf(value)}`);
}

/** The entries of a mapping, be it an object or a Map; undefined for anything else. */
export function mappingOf(value: unknown): [string, unknown][] | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  if (Array.isArray(value) || value instanceof Uint8Array) return undefined;
  if (!(value instanceof Map)) return Object.entries(value);
  return [...value].map(([key, inner]): [string, unknown] => [String(key), inner]);
}

const ranges = {
  int32: [-(2n ** 31n), 2n ** 31n - 1n],
  uint32: [0n, 2n ** 32n - 1n],
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
} as const;

function wholeNumber(kind: keyof typeof ranges, value: unknown, path: string): bigint {
  let number: bigint | undefined;
  if (typeof value === "bigint") number = value;
  else if (typeof value === "number" && Number.isInteger(value)) {
    if (!Number.isSafeInteger(value))
      throw pathError(path, "is too large for a plain number: put it in quotes");
    number = BigInt(value);
  } else if (typeof value === "string" && /^-?\d{1,20}$/.test(value)) number = BigInt(value);
  if (number === undefined) {
    const units = typeof value === "string" ? "; units such as Gi or 500m are not read here" : "";
    throw pathError(path, `must be a whole number, not ${kindOf(value)}${units}`);
  }
  const [least, most] = ranges[kind];
  if (number < least || number > most) throw pathError(path, `must be from ${least} to ${most}`);
  return number;
}

const MAX_SHOWN = 12;

function enumNumber(name: string, value: unknown, path: string): bigint {
  const { numberOf } = enumType(name);
  if (typeof value === "number" || typeof value === "bigint") return wholeNumber("int32", value, path);
  if (typeof value !== "string") throw wrong(path, `a name of ${name}`, value);
  const number = numberOf.get(value);
  if (number !== undefined) return BigInt(number);
  const near = nearestName(value, numberOf.keys());
  const all = numberOf.size <= MAX_SHOWN ? `: it has ${[...numberOf.keys()].join(", ")}` : "";
  throw pathError(path, `is no name of ${name}${near ? `, did you mean ${near}?` : ""}${all}`);
}

function text(value: unknown, path: string): Buffer {
  if (typeof value === "string") return Buffer.from(value, "utf8");
  if (typeof value === "number" || typeof value === "boolean" || typeof value === "bigint") {
    throw pathError(path, 'must be text: put it in quotes, as in "8080"');
  }
  throw wrong(path, "text", value);
}

function double(value: unknown, path: string): Buffer {
  if (typeof value !== "number") throw wrong(path, "a number", value);
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return bytes;
}

/** One value of `field`, without tag and length: of a list an element, of a map the value of an entry. */
export function encodeValue(field: Field, value: unknown, path: string): Buffer {
  switch (field.kind) {
    case "string":
      return text(value, path);
    case "bytes":
      return value instanceof Uint8Array ? Buffer.from(value) : text(value, path);
    case "bool":
      if (typeof value !== "boolean") throw wrong(path, "true or false", value);
      return varint(value ? 1 : 0);
    case "double":
      return double(value, path);
    case "enum":
      return varint(enumNumber(field.enumName ?? "", value, path));
    case "message":
      return encodeMessage(field.message ?? "", value, path);
    default:
      return varint(wholeNumber(field.kind, value, path));
  }
}

/** A message from a mapping of its fields' names. */
export function encodeMessage(messageName: string, value: unknown, path: string): Buffer {
  const entries = mappingOf(value);
  if (!entries) throw wrong(path, `a mapping with fields of ${messageName}`, value);
  const { byName } = messageType(messageName);
  const parts: Buffer[] = [];
  for (const [name, inner] of entries) {
    const field = byName.get(name);
    if (!field) {
      const near = nearestName(name, byName.keys());
      throw pathError(path, `${messageName} has no field ${name}${near ? `, did you mean ${near}?` : ""}`);
    }
    parts.push(...encodeField(field, inner, `${path}.${name}`));
  }
  return Buffer.concat(parts);
}

/** A value of `field` with its tag. */
export function taggedValue(field: Field, bytes: Uint8Array): Buffer {
  const type = wireTypeOf(field);
  return type === 2 ? bytesField(field.number, bytes) : Buffer.concat([tag(field.number, type), bytes]);
}

/** The elements of a list, encoded one by one. */
export function encodeElements(field: Field, value: unknown, path: string): Buffer[] {
  if (!Array.isArray(value)) throw wrong(path, "a list", value);
  return value.map((element, index) => encodeValue(field, element, `${path}[${index}]`));
}

/** The elements as fields of the message: one for each, or one for all where they can be packed. */
export function elementFields(field: Field, elements: readonly Buffer[]): Buffer[] {
  if (elements.length > 0 && isPackable(field)) return [bytesField(field.number, Buffer.concat(elements))];
  return elements.map((element) => bytesField(field.number, element));
}

/** The entries of a map, encoded one by one. */
export function encodeEntries(field: Field, value: unknown, path: string): Buffer[] {
  const entries = mappingOf(value);
  if (!entries) throw wrong(path, "a mapping of text to text", value);
  return entries.map(([key, inner]) => entryBytes(key, encodeValue(field, inner, `${path}${keyText(key)}`)));
}

/** All that a field holds, with its tags: several pieces for a list or a map. */
export function encodeField(field: Field, value: unknown, path: string): Buffer[] {
  if (field.map) return encodeEntries(field, value, path).map((entry) => bytesField(field.number, entry));
  if (field.repeated) return elementFields(field, encodeElements(field, value, path));
  return [taggedValue(field, encodeValue(field, value, path))];
}
