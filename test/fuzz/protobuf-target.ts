/** The walk over protobuf fields: it covers every byte once, agrees with a plain reader, or refuses with its own error. */

import type { Random } from "../../src/cri/tap/testing/random.ts";
import { randomMessage } from "../../src/cri/tap/testing/random-message.ts";
import { eachValue, FieldWalk, MessageReader, wireType } from "../../src/cri/wire/fields.ts";
import { isKind } from "../../src/errors.ts";
import { check, type FuzzTarget, mutate, type Verdict } from "./target.ts";

interface Seen {
  readonly number: number;
  readonly type: number;
  readonly start: number;
  readonly end: number;
}

/** By the encoding's description alone; undefined where it is no message. */
function plainly(bytes: Buffer): Seen[] | undefined {
  const fields: Seen[] = [];
  let at = 0;
  const number = (): number | undefined => {
    for (let length = 1; length <= 10; length++) {
      const octet = bytes[at + length - 1];
      if (octet === undefined) return undefined;
      if (octet > 127) continue;
      const groups = [...bytes.subarray(at, at + length)].map((one) => one & 127);
      at += length;
      return groups.reduceRight((sum, group) => sum * 128 + group, 0);
    }
    return undefined;
  };
  while (at < bytes.length) {
    const start = at;
    const tag = number();
    if (tag === undefined || tag < 8 || tag >= 2 ** 32) return undefined;
    const type = tag % 8;
    const skipped = type === 0 ? (number() === undefined ? undefined : 0) : { 1: 8, 2: 0, 5: 4 }[type];
    const length = type === wireType.bytes ? number() : skipped;
    if (length === undefined || at + length > bytes.length) return undefined;
    at += length;
    fields.push({ number: Math.floor(tag / 8), type, start, end: at });
  }
  return fields;
}

function walked(bytes: Buffer): Seen[] {
  const fields: Seen[] = [];
  const walk = new FieldWalk(bytes);
  while (walk.next()) {
    const { number, type, start, end } = walk;
    check(start < walk.valueStart && walk.valueStart <= end, "a value outside its field");
    fields.push({ number, type, start, end });
  }
  return fields;
}

function attempt(random: Random): Verdict {
  const valid = randomMessage(random, 10);
  const bytes = random.chance(3)
    ? valid
    : random.chance(8)
      ? random.bytes(random.below(60))
      : mutate(random, valid);
  const wanted = plainly(bytes);
  if (bytes === valid) check(wanted !== undefined, "the plain reader refuses a valid message");
  try {
    const fields = walked(bytes);
    check(JSON.stringify(fields) === JSON.stringify(wanted), "other fields than the plain reader's");
    let covered = 0;
    for (const { start, end } of fields) {
      check(start === covered, "a gap between fields");
      covered = end;
    }
    check(covered === bytes.length, "bytes behind the last field");
    let values = 0;
    eachValue(bytes, 2, () => values++);
    check(values === fields.filter(({ number, type }) => number === 2 && type === 2).length, "other values");
    const reader = new MessageReader(bytes);
    reader.text([2]);
    return "accepted";
  } catch (error) {
    if (!isKind(error, "decode")) throw error;
    check(wanted === undefined, "refuses what the plain reader takes");
    return "refused";
  }
}

export const protobufTarget: FuzzTarget = { name: "protobuf", share: 20, attempt };
