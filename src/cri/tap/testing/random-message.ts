/** Random protobuf messages, for tests: any field numbers, those that no API has included, nested and repeated. */
import type { Random } from "./random.ts";

/** Well formed, and unknown to every reader. */
export function randomMessage(random: Random, fields: number, depth = 0): Buffer {
  const parts: Buffer[] = [];
  for (let field = random.below(fields + 1); field > 0; field--) {
    const number = random.chance(4) ? 1 + random.below(536_870_911) : 1 + random.below(40);
    parts.push(...randomField(random, number, depth));
  }
  return Buffer.concat(parts);
}

function randomField(random: Random, number: number, depth: number): Buffer[] {
  switch (random.below(5)) {
    case 0:
      return [varint(number * 8), varint(random.below(2 ** 31) * (random.chance(2) ? 1 : 1_000_003))];
    case 1:
      return [varint(number * 8 + 1), random.bytes(8)];
    case 2:
      return [varint(number * 8 + 5), random.bytes(4)];
    default: {
      const nested = depth < 3 && random.chance(2);
      const value = nested ? randomMessage(random, 4, depth + 1) : random.bytes(random.below(40));
      return [varint(number * 8 + 2), varint(value.length), value];
    }
  }
}

/** A base 128 number, exact up to 2^53. */
export function varint(value: number): Buffer {
  const octets: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) octets.push((rest % 128) | 128);
  return Buffer.from([...octets, rest]);
}
