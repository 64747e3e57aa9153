/** Writes the little protobuf that the proxy appends: tags, lengths, strings and map entries. */

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) | 0x80);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** A length-delimited field: a string, bytes, or an encoded message. */
export function bytesField(number: number, value: Uint8Array | string): Buffer {
  const body = typeof value === "string" ? Buffer.from(value, "utf8") : value;
  return Buffer.concat([varint(number * 8 + 2), varint(body.length), body]);
}

/** A map entry, or a message of the same shape such as KeyValue: key = 1, value = 2. */
export function entryField(number: number, key: string, value: string): Buffer {
  return bytesField(number, Buffer.concat([bytesField(1, key), bytesField(2, value)]));
}

/** Wraps `body` so that, appended to a message, it merges into the submessage at `path` (outermost first). */
export function nested(path: readonly number[], body: Uint8Array): Uint8Array {
  return path.reduceRight<Uint8Array>((inner, number) => bytesField(number, inner), body);
}
