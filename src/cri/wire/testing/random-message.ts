/**
 * Random messages by the descriptors, in every form that the wire allows: fields in any order, submessages in pieces,
 * lists packed and not, explicit zeros, keys that come twice, and fields that nobody knows.
 */
import type { Random } from "../../tap/testing/random.ts";
import { enumType, type Field, messageType } from "../descriptors.ts";
import { bytesField, entryBytes, tag, varint } from "../encode.ts";
import { isPackable } from "../scalar.ts";
import { taggedValue } from "../value.ts";

const words = ["", "a", "b", "NET_RAW", "ALL", "/data", "HTTP_PROXY", "io.x/y", "grün", "z".repeat(200)];

/** One of these at random. */
export function pick<T>(random: Random, choices: readonly T[]): T {
  const chosen = choices[random.below(choices.length)];
  if (chosen === undefined) throw new Error("nothing to choose from");
  return chosen;
}

/** Few different words, so that keys meet. */
export function randomWord(random: Random): string {
  return pick(random, words);
}

function randomNumber(random: Random, { kind, enumName }: Field): bigint {
  if (random.chance(5)) return 0n;
  if (kind === "bool") return 1n;
  if (kind === "enum") return BigInt(pick(random, [...enumType(enumName ?? "").numberOf.values(), 77]));
  const most = kind === "int32" ? 31n : kind === "uint32" ? 32n : kind === "int64" ? 63n : 64n;
  const value = random.bytes(8).readBigUInt64LE() >> BigInt(random.below(64));
  const positive = BigInt.asUintN(Number(most), value);
  return kind.startsWith("int") && random.chance(3) ? -positive : positive;
}

function randomValue(random: Random, field: Field): Buffer {
  switch (field.kind) {
    case "message":
      return randomMessage(random, field.message ?? "");
    case "string":
    case "bytes":
      return Buffer.from(randomWord(random));
    case "double":
      return Buffer.from(new Float64Array([random.below(1000) / 8]).buffer);
    default:
      return varint(randomNumber(random, field));
  }
}

function randomUnknown(random: Random): Buffer {
  const number = 900 + random.below(5);
  const type = pick(random, [0, 1, 2, 5]);
  if (type === 2) return bytesField(number, random.bytes(random.below(12)));
  const value = type === 0 ? varint(random.bytes(8).readBigUInt64LE()) : random.bytes(type === 1 ? 8 : 4);
  return Buffer.concat([tag(number, type), value]);
}

function randomOccurrences(random: Random, field: Field): Buffer[] {
  if (field.map) {
    const entry = () => bytesField(field.number, entryBytes(randomWord(random), randomWord(random)));
    return Array.from({ length: random.below(4) }, entry);
  }
  if (!field.repeated) {
    return Array.from({ length: pick(random, [1, 1, 1, 2, 3]) }, () =>
      taggedValue(field, randomValue(random, field)),
    );
  }
  if (!isPackable(field) || random.chance(2)) {
    return Array.from({ length: random.below(4) }, () => taggedValue(field, randomValue(random, field)));
  }
  return Array.from({ length: 1 + random.below(2) }, () => {
    const values = Array.from({ length: random.below(4) }, () => randomValue(random, field));
    return bytesField(field.number, Buffer.concat(values));
  });
}

/** A message of the type of this name. */
export function randomMessage(random: Random, messageName: string): Buffer {
  const pieces: Buffer[] = [];
  for (const field of messageType(messageName).fields) {
    if (random.chance(3)) continue;
    pieces.push(...randomOccurrences(random, field));
  }
  while (random.chance(3)) pieces.push(randomUnknown(random));
  // The order among the occurrences of one field does not matter to what is tested: all of it is random.
  for (let index = pieces.length - 1; index > 0; index -= 1) {
    const other = random.below(index + 1);
    const [a, b] = [pieces[index], pieces[other]];
    if (a && b) [pieces[index], pieces[other]] = [b, a];
  }
  return Buffer.concat(pieces);
}
