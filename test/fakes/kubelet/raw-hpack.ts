/**
 * Header blocks of RFC 7541 for the hand-framed client: every header out is a literal that is not indexed, while
 * blocks that come in may use all of HPACK. Written apart from the proxy's own HPACK, so that neither can hide the
 * other's mistakes.
 */

export type Header = readonly [name: string, value: string];

const MAX_ONE_BYTE_LENGTH = 127;

/** Appendix A, by index from 1. */
const staticTable: readonly Header[] = [
  ":authority ",
  ":method GET",
  ":method POST",
  ":path /",
  ":path /index.html",
  ":scheme http",
  ":scheme https",
  ...["200", "204", "206", "304", "400", "404", "500"].map((code) => `:status ${code}`),
  "accept-charset ",
  "accept-encoding gzip, deflate",
  ...[
    "accept-language accept-ranges accept access-control-allow-origin age allow authorization cache-control",
    "content-disposition content-encoding content-language content-length content-location content-range",
    "content-type cookie date etag expect expires from host if-match if-modified-since if-none-match if-range",
    "if-unmodified-since last-modified link location max-forwards proxy-authenticate proxy-authorization range",
    "referer refresh retry-after server set-cookie strict-transport-security transfer-encoding user-agent vary",
    "via www-authenticate",
  ].flatMap((line) => line.split(" ").map((name) => `${name} `)),
].map((line) => {
  const space = line.indexOf(" ");
  return [line.slice(0, space), line.slice(space + 1)];
});

/** The symbols of Appendix B by code length, as far as gRPC text can hold them: the code is canonical. */
const symbolsByLength: readonly (readonly [bits: number, symbols: string])[] = [
  [5, "012aceiost"],
  [6, " %-./3456789=A_bdfghlmnpru"],
  [7, ":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"],
  [8, "&*,;XZ"],
  [10, '!"()?'],
  [11, "'+|"],
  [12, "#>"],
  [13, "\0$@[]~"],
  [14, "^}"],
  [15, "<`{"],
  [19, "\\"],
];

function buildHuffman(): ReadonlyMap<string, string> {
  const codes = new Map<string, string>();
  let code = 0;
  let previous = 5;
  for (const [bits, symbols] of symbolsByLength) {
    code <<= bits - previous;
    previous = bits;
    for (const symbol of symbols) {
      codes.set(code.toString(2).padStart(bits, "0"), symbol);
      code += 1;
    }
  }
  return codes;
}

const huffman = buildHuffman();

function decodeHuffman(bytes: Uint8Array): string {
  let text = "";
  let code = "";
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit -= 1) {
      code += (byte >> bit) & 1;
      const symbol = huffman.get(code);
      if (symbol === undefined) continue;
      text += symbol;
      code = "";
    }
  }
  // What is left is padding: fewer than eight ones.
  if (code.length > 7 || code.includes("0")) throw new Error(`a Huffman code that is not text: ${code}`);
  return text;
}

function literal(text: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length < MAX_ONE_BYTE_LENGTH) return Buffer.concat([Buffer.of(bytes.length), bytes]);
  const length = [MAX_ONE_BYTE_LENGTH];
  let rest = bytes.length - MAX_ONE_BYTE_LENGTH;
  for (; rest >= 128; rest >>= 7) length.push((rest & 127) | 128);
  return Buffer.concat([Buffer.from([...length, rest]), bytes]);
}

/** A header block of literals without indexing. */
export function encodeHeaders(headers: readonly Header[]): Buffer {
  return Buffer.concat(headers.flatMap(([name, value]) => [Buffer.of(0), literal(name), literal(value)]));
}

/** A decoder of one connection's blocks, in the order in which they come. */
export function createHeaderDecoder(maxTableBytes: number): (block: Buffer) => Header[] {
  let limit = maxTableBytes;
  const table: Header[] = [];
  const sizeOf = ([name, value]: Header) => name.length + value.length + 32;
  const evict = () => {
    while (table.length > 0 && table.reduce((sum, entry) => sum + sizeOf(entry), 0) > limit) table.pop();
  };
  const lookUp = (index: number): Header => {
    const entry = staticTable[index - 1] ?? table[index - 1 - staticTable.length];
    if (!entry) throw new Error(`a header index that is not in the table: ${index}`);
    return entry;
  };
  return (block) => {
    const reader = createReader(block);
    const headers: Header[] = [];
    while (!reader.done()) {
      const first = reader.peek();
      if (first & 0x80) headers.push(lookUp(reader.integer(7)));
      else if ((first & 0xe0) === 0x20) {
        limit = reader.integer(5);
        evict();
      } else {
        const indexed = (first & 0x40) !== 0;
        const nameIndex = reader.integer(indexed ? 6 : 4);
        const name = nameIndex === 0 ? reader.text() : lookUp(nameIndex)[0];
        const header: Header = [name, reader.text()];
        headers.push(header);
        if (indexed) table.unshift(header);
        evict();
      }
    }
    return headers;
  };
}

function createReader(block: Buffer) {
  let at = 0;
  const integer = (prefixBits: number): number => {
    const mask = (1 << prefixBits) - 1;
    let value = block.readUInt8(at++) & mask;
    if (value < mask) return value;
    for (let shift = 0; ; shift += 7) {
      const byte = block.readUInt8(at++);
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
  };
  return {
    done: () => at >= block.length,
    peek: () => block.readUInt8(at),
    integer,
    text(): string {
      const isHuffman = (block.readUInt8(at) & 0x80) !== 0;
      const length = integer(7);
      const bytes = block.subarray(at, at + length);
      at += length;
      return isHuffman ? decodeHuffman(bytes) : bytes.toString();
    },
  };
}
