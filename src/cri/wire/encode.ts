/** Writes protobuf: numbers, tags, lengths, strings and map entries. Canonical: every value in its shortest form. */

/** A number that is not negative as a varint. Exact up to 2^53; larger ones are bigint. */
export function varint(value: number | bigint): Buffer {
  if (typeof value === "bigint") return bigVarint(value);
  if (value < 128) return Buffer.of(value);
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) | 0x80);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** Negative numbers take ten bytes, as the encoding wants. */
function bigVarint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  while (rest >= 128n) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

/** The tag of a field: its number and its wire type. */
export function tag(number: number, type: number): Buffer {
  return varint(number * 8 + type);
}

/** A length-delimited field: a string, bytes, or an encoded message. */
export function bytesField(number: number, value: Uint8Array | string): Buffer {
  const body = typeof value === "string" ? Buffer.from(value, "utf8") : value;
  return Buffer.concat([tag(number, 2), varint(body.length), body]);
}

/** A map entry, or a message of the same shape such as KeyValue: key = 1, value = 2. */
export function entryBytes(key: Uint8Array | string, value: Uint8Array | string): Buffer {
  return Buffer.concat([bytesField(1, key), bytesField(2, value)]);
}

/** The same as a field. */
export function entryField(number: number, key: string, value: string): Buffer {
  return bytesField(number, entryBytes(key, value));
}

/** Wraps `body` so that, appended to a message, it merges into the submessage at `path` (outermost first). */
export function nested(path: readonly number[], body: Uint8Array): Uint8Array {
  return path.reduceRight<Uint8Array>((inner, number) => bytesField(number, inner), body);
}
