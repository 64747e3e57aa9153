/**
 * Joins the occurrences of a singular submessage, as every protobuf parser must (and Go's does): `a: {x}` followed by
 * `a: {y}` means `a: {x, y}`. The decoder underneath, protobufjs 7, lets the last occurrence replace the others.
 */
import { join } from "node:path";
import protobuf from "protobufjs";
import { protoDirectory } from "../../../src/host/proto.ts";

const BYTES = 2;
const root = protobuf.loadSync(join(protoDirectory, "runtime/v1/api.proto"));

/** `message` of the type `runtime.v1.<name>` in a form that any decoder reads alike. */
export function mergeOccurrences(name: string, message: Uint8Array): Uint8Array {
  return merge(root.lookupType(`runtime.v1.${name}`), message);
}

function merge(type: protobuf.Type, message: Uint8Array): Uint8Array {
  const joined = new Map<number, Uint8Array[]>();
  const writer = protobuf.Writer.create();
  const pieces: Uint8Array[] = [];
  const reader = protobuf.Reader.create(message);
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const tag = reader.uint32();
    const number = tag >>> 3;
    if ((tag & 7) === BYTES && singularMessage(type, number)) {
      joined.set(number, [...(joined.get(number) ?? []), reader.bytes()]);
      continue;
    }
    const element = (tag & 7) === BYTES ? listedMessage(type, number) : undefined;
    if (element) {
      const merged = merge(element, reader.bytes());
      pieces.push(protobuf.Writer.create().uint32(tag).bytes(merged).finish());
      continue;
    }
    reader.skipType(tag & 7);
    pieces.push(message.subarray(start, reader.pos));
  }
  for (const [number, parts] of joined) {
    const inner = singularMessage(type, number);
    if (inner) writer.uint32((number << 3) | BYTES).bytes(merge(inner, Buffer.concat(parts)));
  }
  return Buffer.concat([...pieces, writer.finish()]);
}

/** The type of the elements of a list of messages. */
function listedMessage(type: protobuf.Type, number: number): protobuf.Type | undefined {
  const field = type.fieldsById[number]?.resolve();
  return field?.repeated && field.resolvedType instanceof protobuf.Type ? field.resolvedType : undefined;
}

function singularMessage(type: protobuf.Type, number: number): protobuf.Type | undefined {
  const field = type.fieldsById[number]?.resolve();
  if (!field || field.repeated || field.map) return undefined;
  return field.resolvedType instanceof protobuf.Type ? field.resolvedType : undefined;
}
