/** Huffman codes of HPACK as texts of bits, for tests: slow, and made in another way than the decoder's tables. */
import { codeLengths } from "../hpack/huffman.ts";

const EOS = 256;

/** By symbol: `huffmanCodes[97]` is "00011". The code is canonical, so the lengths alone define it (RFC 7541, appendix B). */
export const huffmanCodes: readonly string[] = assign();

function assign(): string[] {
  const codes: string[] = [];
  let code = 0n;
  for (let bits = 1; bits <= 30; bits++) {
    code <<= 1n;
    for (let symbol = 0; symbol <= EOS; symbol++) {
      if (codeLengths[symbol] === bits) codes[symbol] = (code++).toString(2).padStart(bits, "0");
    }
  }
  return codes;
}

/** Octets as latin-1 text; padded with ones, as it must be. */
export function encodeHuffman(text: string): Buffer {
  let bits = 0;
  for (let at = 0; at < text.length; at++) bits += huffmanCodes[text.charCodeAt(at)]?.length ?? 0;
  const bytes = Buffer.alloc(Math.ceil(bits / 8));
  let position = 0;
  const put = (bit: number) => {
    const octet = position >> 3;
    bytes[octet] = (bytes[octet] as number) | (bit << (7 - (position & 7)));
    position++;
  };
  for (let at = 0; at < text.length; at++) {
    const code = huffmanCodes[text.charCodeAt(at)] ?? "";
    for (let bit = 0; bit < code.length; bit++) put(code.charCodeAt(bit) & 1);
  }
  while (position < bytes.length * 8) put(1);
  return bytes;
}
