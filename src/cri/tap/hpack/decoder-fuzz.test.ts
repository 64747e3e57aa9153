import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isKind } from "../../../errors.ts";
import { HpackDecoder } from "./decoder.ts";
import { encodeBlock } from "./encoder.ts";

/** Blocks per run; raise it by hand for a longer hunt. */
const FUZZ_BLOCKS = 6_000;

const seeds = [
  "828684410f7777772e6578616d706c652e636f6d",
  "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
  "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdf",
  "3fe11f20824001610162",
].map((hex) => Buffer.from(hex, "hex"));

/** A small deterministic generator (xorshift), so that a failure can be repeated. */
function numbers(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

function mutate(next: (below: number) => number): Buffer {
  const block = Buffer.from(seeds[next(seeds.length)] ?? "");
  for (let flips = next(4); flips >= 0; flips--) block[next(block.length)] = next(256);
  return next(4) === 0 ? block.subarray(0, next(block.length)) : block;
}

describe("arbitrary blocks", () => {
  it("decode or throw the decoder's own error, and keep the table within its size", () => {
    const next = numbers(0x7541);
    let refused = 0;
    let decoder = new HpackDecoder();
    for (let run = 0; run < FUZZ_BLOCKS; run++) {
      const block =
        next(2) === 0 ? mutate(next) : Buffer.from(Array.from({ length: next(40) }, () => next(256)));
      try {
        decoder.decode(block, { start: 0, end: block.length }, { field: () => undefined });
      } catch (error) {
        if (!isKind(error, "decode")) throw error;
        refused++;
        decoder = new HpackDecoder();
      }
      if (decoder.tableSizeBytes > decoder.tableMaxBytes) expect.fail(`table too large in run ${run}`);
    }
    expect(refused).toBeGreaterThan(FUZZ_BLOCKS / 100);
    expect(refused).toBeLessThan(FUZZ_BLOCKS);
  });
});

const octets = fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((n) => String.fromCharCode(n)) });
const fields = fc.array(fc.tuple(octets, octets), { maxLength: 12 });

describe("what the encoder writes", () => {
  it("decodes to the same fields, whatever their octets, cut out of any surroundings", () => {
    fc.assert(
      fc.property(fields, fc.uint8Array({ maxLength: 9 }), (wanted, around) => {
        const block = Buffer.concat([around, encodeBlock(wanted), around]);
        const found: [string, string][] = [];
        const range = { start: around.length, end: block.length - around.length };
        new HpackDecoder().decode(block, range, { field: (name, value) => found.push([name, value]) });
        expect(found).toEqual(wanted);
      }),
    );
  });
});
