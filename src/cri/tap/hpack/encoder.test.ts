import { describe, expect, it } from "vitest";
import { HpackDecoder } from "./decoder.ts";
import { encodeBlock } from "./encoder.ts";

function decode(block: Buffer, decoder = new HpackDecoder()): [string, string][] {
  const fields: [string, string][] = [];
  decoder.decode(
    block,
    { start: 0, end: block.length },
    { field: (name, value) => fields.push([name, value]) },
  );
  return fields;
}

const trailersOnly = [
  [":status", "200"],
  ["content-type", "application/grpc"],
  ["grpc-status", "7"],
  ["grpc-message", "no %C3%BC"],
] as const;

describe("header blocks of our own", () => {
  it("decode to what was encoded", () => {
    expect(decode(encodeBlock(trailersOnly))).toEqual(trailersOnly);
    const long = [["grpc-message", "x".repeat(2_000)]] as const;
    expect(decode(encodeBlock(long))).toEqual(long);
  });

  it("leave the decoder's dynamic table as it was", () => {
    const decoder = new HpackDecoder();
    decode(Buffer.from("400a637573746f6d2d6b65790d637573746f6d2d686561646572", "hex"), decoder);
    decode(encodeBlock(trailersOnly), decoder);
    expect([decoder.tableCount, decoder.tableSizeBytes, decoder.tableMaxBytes]).toEqual([1, 55, 4096]);
  });

  it("use static indexes and never-indexed literals only (RFC 7541, section 6.2.3)", () => {
    const block = encodeBlock(trailersOnly);
    expect(block[0]).toBe(0x88);
    expect([...block.subarray(1, 3)]).toEqual([0x1f, 0x10]); // content-type, index 31 after a prefix of four bits
    expect(block[3 + 1 + "application/grpc".length]).toBe(0x10);
  });

  it.each([0, 256, 4096])("open with a table size update to %i where one is due", (bytes) => {
    const decoder = new HpackDecoder();
    expect(decode(encodeBlock(trailersOnly, bytes), decoder)).toEqual(trailersOnly);
    expect(decoder.tableMaxBytes).toBe(bytes);
  });
});
