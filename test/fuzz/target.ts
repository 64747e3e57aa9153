/** What a fuzzer tries, and what it says when something is wrong. */
import type { Random } from "../../src/cri/tap/testing/random.ts";

/** Whether the code under test took an input or refused it with the error that is meant for that. */
export type Verdict = "accepted" | "refused";

/** One piece of code that must bear anything. */
export interface FuzzTarget {
  readonly name: string;
  /** Inputs for a run where no count is given: what takes about as long as those of the other targets. */
  readonly share: number;
  /** Its inputs are all valid: there is nothing to refuse. */
  readonly takesAll?: boolean;
  /** Makes one input and tries it; throws whatever is wrong with what came of it. */
  attempt(random: Random): Verdict | Promise<Verdict>;
}

/** Throws where `holds` is not true. */
export function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

/** Some bytes of `bytes` changed, left out, doubled or put in. */
export function mutate(random: Random, bytes: Buffer): Buffer {
  let mutated = Buffer.from(bytes);
  for (let changes = 1 + random.below(3); changes > 0; changes--) {
    const at = random.below(mutated.length + 1);
    const octets = random.below(12);
    switch (random.below(5)) {
      case 0:
        mutated = Buffer.concat([mutated.subarray(0, at), mutated.subarray(at + octets)]);
        break;
      case 1:
        mutated = Buffer.concat([mutated.subarray(0, at), random.bytes(octets), mutated.subarray(at)]);
        break;
      case 2:
        mutated = Buffer.concat([mutated.subarray(0, at + octets), mutated.subarray(at)]);
        break;
      default:
        if (at < mutated.length) mutated[at] = random.chance(2) ? random.below(256) : 1 << random.below(8);
    }
  }
  return mutated;
}

/** `bytes` in pieces of any size, in order. */
export function* pieces(random: Random, bytes: Buffer): Generator<Buffer> {
  let at = 0;
  while (at < bytes.length) {
    const octets = random.chance(3) ? bytes.length - at : 1 + random.below(random.chance(2) ? 12 : 400);
    yield bytes.subarray(at, at + octets);
    at += octets;
  }
}
