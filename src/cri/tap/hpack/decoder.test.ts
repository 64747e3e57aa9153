import { describe, expect, it } from "vitest";
import { isKind } from "../../../errors.ts";
import { HpackDecoder } from "./decoder.ts";

type Field = readonly [name: string, value: string];

function decodeHex(decoder: HpackDecoder, hex: string): Field[] {
  const block = Buffer.from(hex.replaceAll(" ", ""), "hex");
  const fields: Field[] = [];
  decoder.decode(
    block,
    { start: 0, end: block.length },
    { field: (name, value) => fields.push([name, value]) },
  );
  return fields;
}

const AUTHORITY: Field = [":authority", "www.example.com"];
const DATE_21: Field = ["date", "Mon, 21 Oct 2013 20:13:21 GMT"];
const DATE_22: Field = ["date", "Mon, 21 Oct 2013 20:13:22 GMT"];
const LOCATION: Field = ["location", "https://www.example.com"];
const PRIVATE: Field = ["cache-control", "private"];
const COOKIE: Field = ["set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"];
const GET: Field = [":method", "GET"];
const HTTP: Field = [":scheme", "http"];

interface Step {
  readonly hex: string;
  readonly fields: readonly Field[];
  readonly tableBytes: number;
}

const requests: readonly (readonly Field[])[] = [
  [GET, HTTP, [":path", "/"], AUTHORITY],
  [GET, HTTP, [":path", "/"], AUTHORITY, ["cache-control", "no-cache"]],
  [GET, [":scheme", "https"], [":path", "/index.html"], AUTHORITY, ["custom-key", "custom-value"]],
];
const responses: readonly (readonly Field[])[] = [
  [[":status", "302"], PRIVATE, DATE_21, LOCATION],
  [[":status", "307"], PRIVATE, DATE_21, LOCATION],
  [[":status", "200"], PRIVATE, DATE_22, LOCATION, ["content-encoding", "gzip"], COOKIE],
];

const sequences: readonly {
  readonly title: string;
  readonly tableBytes: number;
  readonly steps: readonly Step[];
}[] = [
  {
    title: "C.3 requests in plain literals",
    tableBytes: 4096,
    steps: steps(
      requests,
      [57, 110, 164],
      [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
      ],
    ),
  },
  {
    title: "C.4 requests in Huffman code",
    tableBytes: 4096,
    steps: steps(
      requests,
      [57, 110, 164],
      [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
      ],
    ),
  },
  {
    title: "C.5 responses in plain literals, evicting from a table of 256 octets",
    tableBytes: 256,
    steps: steps(
      responses,
      [222, 222, 215],
      [
        `4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32
       3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d`,
        "4803 3330 37c1 c0bf",
        `88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970
       7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61
       6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31`,
      ],
    ),
  },
  {
    title: "C.6 responses in Huffman code, evicting from a table of 256 octets",
    tableBytes: 256,
    steps: steps(
      responses,
      [222, 222, 215],
      [
        `4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad
       1718 63c7 8f0b 97c8 e9ae 82ae 43d3`,
        "4883 640e ffc1 c0bf",
        `88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2
       e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07`,
      ],
    ),
  },
];

function steps(fields: readonly (readonly Field[])[], sizes: number[], blocks: string[]): Step[] {
  return blocks.map((hex, at) => ({
    hex: hex.replaceAll(/\s/g, ""),
    fields: fields[at] ?? [],
    tableBytes: sizes[at] ?? -1,
  }));
}

describe("RFC 7541, appendix C", () => {
  it.each([
    {
      title: "C.2.1 a literal that is indexed",
      hex: "400a637573746f6d2d6b65790d637573746f6d2d686561646572",
      fields: [["custom-key", "custom-header"]],
      tableBytes: 55,
    },
    {
      title: "C.2.2 a literal that is not indexed",
      hex: "040c2f73616d706c652f70617468",
      fields: [[":path", "/sample/path"]],
      tableBytes: 0,
    },
    {
      title: "C.2.3 a literal that is never indexed",
      hex: "100870617373776f726406736563726574",
      fields: [["password", "secret"]],
      tableBytes: 0,
    },
    { title: "C.2.4 an indexed field", hex: "82", fields: [GET], tableBytes: 0 },
  ])("$title", ({ hex, fields, tableBytes }) => {
    const decoder = new HpackDecoder();
    expect(decodeHex(decoder, hex)).toEqual(fields);
    expect(decoder.tableSizeBytes).toBe(tableBytes);
  });

  it("C.1 integers: 10 and 1337 after a prefix of five bits, 42 at an octet's start", () => {
    const decoder = new HpackDecoder();
    decodeHex(decoder, "2a");
    expect(decoder.tableMaxBytes).toBe(10);
    decodeHex(decoder, "3f9a0a");
    expect(decoder.tableMaxBytes).toBe(1337);
    // The length of a string begins at a bit boundary too; 42 needs seven bits only.
    expect(decodeHex(decoder, `0001612a${"62".repeat(42)}`)).toEqual([["a", "b".repeat(42)]]);
  });

  it.each(sequences)("$title", ({ tableBytes, steps: blocks }) => {
    const decoder = new HpackDecoder();
    decoder.resizeTable(tableBytes);
    for (const { hex, fields, tableBytes: sizeBytes } of blocks) {
      expect(decodeHex(decoder, hex)).toEqual(fields);
      expect(decoder.tableSizeBytes).toBe(sizeBytes);
    }
  });
});

describe("table size updates (RFC 7541, section 4)", () => {
  it("evicts down to the new size, and allows several updates at a block's start", () => {
    const decoder = new HpackDecoder();
    decodeHex(decoder, "400a637573746f6d2d6b65790d637573746f6d2d686561646572");
    expect(decodeHex(decoder, "20 3fe11f 82")).toEqual([GET]);
    expect(decoder.tableSizeBytes).toBe(0);
    expect(decoder.tableMaxBytes).toBe(4096);
  });

  it("empties the table for an entry larger than it (section 4.4)", () => {
    const decoder = new HpackDecoder();
    decodeHex(decoder, "40016101 62");
    expect(decoder.tableCount).toBe(1);
    decodeHex(decoder, `24 4001617f00${"62".repeat(127)}`);
    expect(decoder.tableCount).toBe(0);
  });

  it("keeps an entry that was evicted by the field that names it", () => {
    const decoder = new HpackDecoder();
    decoder.resizeTable(40);
    decodeHex(decoder, "40 0161 0162");
    expect(decodeHex(decoder, "7e 0163")).toEqual([["a", "c"]]);
    expect(decodeHex(decoder, "be")).toEqual([["a", "c"]]);
  });

  it("follows the limit that the receiver announced, up and down", () => {
    const decoder = new HpackDecoder();
    decoder.setLimit(8192);
    decodeHex(decoder, "3fe13f");
    expect(decoder.tableMaxBytes).toBe(8192);
    decoder.setLimit(100);
    expect(() => decodeHex(decoder, "3f46")).toThrow("a table size update to 101 where 100 is allowed");
  });

  it("holds more entries than it had slots for at first", () => {
    const decoder = new HpackDecoder();
    decoder.setLimit(1 << 16);
    decodeHex(decoder, "3fe1ff03");
    for (let i = 0; i < 300; i++)
      decodeHex(decoder, `400161 03${Buffer.from(String(i).padStart(3, "0")).toString("hex")}`);
    expect(decoder.tableCount).toBe(300);
    expect(decodeHex(decoder, "be")).toEqual([["a", "299"]]);
    expect(decodeHex(decoder, "ffea01")).toEqual([["a", "000"]]);
  });
});

describe("malformed blocks are errors of kind decode", () => {
  it.each([
    ["index 0", "80"],
    ["an index beyond both tables", "be"],
    ["a name index beyond both tables", "7e0161"],
    ["a size update after a field", "8220"],
    ["a size update above the limit", "3fe21f"],
    ["an integer that never ends", "ffffffffffffffffffff01"],
    ["an integer beyond any block", "ffffffff7f"],
    ["an integer that is cut", "ff"],
    ["no string where a name should be", "40"],
    ["no string where a value should be", "400161"],
    ["a name longer than the block", "400561"],
    ["a value longer than the block", "4001610561"],
    ["Huffman padding of eight bits", "40016182 1fff"],
    ["Huffman padding that is not all ones", "40016181 18"],
    ["EOS within Huffman code", "40016184 ffffffff"],
  ])("%s", (_, hex) => {
    const decode = () => decodeHex(new HpackDecoder(), hex);
    expect(decode).toThrow("malformed header block");
    try {
      decode();
    } catch (error) {
      expect(isKind(error, "decode")).toBe(true);
    }
  });

  it("checks also the strings that nobody wants", () => {
    const decoder = new HpackDecoder(new Set([":path"]));
    expect(() => decodeHex(decoder, "00016181 18")).toThrow("not valid Huffman code");
  });
});

describe("a decoder for a few names", () => {
  it("reports those only, and keeps the table as it would be with all", () => {
    const all = new HpackDecoder();
    const few = new HpackDecoder(new Set(["custom-key", ":status"]));
    for (const { steps: blocks } of sequences.slice(0, 2)) {
      for (const { hex } of blocks) {
        const wanted = decodeHex(all, hex).filter(([name]) => name === "custom-key");
        expect(decodeHex(few, hex)).toEqual(wanted);
        expect(few.tableSizeBytes).toBe(all.tableSizeBytes);
      }
    }
  });
});
