import { describe, expect, it } from "vitest";
import { codeLengths, decodeHuffman, maxDecodedBytes } from "./huffman.ts";

/** An encoder made from the code lengths alone: the code is canonical. */
function codes(): { code: bigint; bits: number }[] {
  const order = codeLengths.map((bits, symbol) => ({ bits, symbol }));
  order.sort((a, b) => a.bits - b.bits || a.symbol - b.symbol);
  const found: { code: bigint; bits: number }[] = [];
  let code = 0n;
  let before = 0;
  for (const { bits, symbol } of order) {
    code <<= BigInt(bits - before);
    before = bits;
    found[symbol] = { code, bits };
    code++;
  }
  return found;
}

const table = codes();

const bitsOf = table.map(({ code, bits }) => code.toString(2).padStart(bits, "0"));

function encode(octets: readonly number[]): Buffer {
  let text = octets.map((octet) => bitsOf[octet]).join("");
  text += "1".repeat((8 - (text.length % 8)) % 8);
  return Buffer.from(text.match(/.{8}/g)?.map((bits) => Number.parseInt(bits, 2)) ?? []);
}

function decode(coded: Buffer): number[] | undefined {
  const into = Buffer.alloc(maxDecodedBytes(coded.length));
  const octets = decodeHuffman(coded, { start: 0, end: coded.length }, into);
  return octets < 0 ? undefined : [...into.subarray(0, octets)];
}

describe("the Huffman code (RFC 7541, appendix B)", () => {
  it("is complete: every infinite sequence of bits decodes (Kraft's sum is one)", () => {
    expect(codeLengths).toHaveLength(257);
    expect(codeLengths.reduce((sum, bits) => sum + 2 ** -bits, 0)).toBe(1);
  });

  it.each([
    ["0", 0x0n, 5],
    ["a", 0x3n, 5],
    [" ", 0x14n, 6],
    ["&", 0xf8n, 8],
    ["\\", 0x7fff0n, 19],
    ["\u00ff", 0x3ffffeen, 26],
    ["\n", 0x3ffffffcn, 30],
  ])("gives %j the code of the appendix", (character, code, bits) => {
    expect(table[character.charCodeAt(0)]).toEqual({ code, bits });
  });

  it("decodes every octet, alone and next to every other", () => {
    for (let first = 0; first < 256; first++) {
      const octets = Array.from({ length: 256 }, (_, second) => [first, second]).flat();
      expect(decode(encode(octets))).toEqual(octets);
      expect(decode(encode([first]))).toEqual([first]);
    }
  });

  it("accepts the empty string and up to seven bits of padding, no more", () => {
    expect(decode(Buffer.alloc(0))).toEqual([]);
    expect(decode(encode([0x61]))).toEqual([0x61]);
    expect(decode(Buffer.concat([encode([0x61]), Buffer.from([0xff])]))).toBeUndefined();
  });
});
