import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  AttributeWriter,
  attributeText,
  decodeDatagram,
  encodeMessage,
  listAttributes,
  readAttributes,
} from "./codec.ts";

describe("attributes", () => {
  test("are padded to four bytes, which their length does not count", () => {
    const bytes = new AttributeWriter().text(3, "eth0").u8(8, 1).finish();
    expect(bytes.toString("hex")).toBe(`0900${"0300"}6574683000${"000000"}${"0500"}${"0800"}01000000`);
  });

  test("what was written is read back, nested or not", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 }), (values) => {
        const writer = new AttributeWriter().nest(18, (inner) => {
          for (const [index, value] of values.entries()) inner.bytes(index + 1, value);
        });
        const nested = readAttributes(writer.finish()).get(18) ?? Buffer.alloc(0);
        expect(listAttributes(nested)).toEqual(values.map((value, index) => [index + 1, Buffer.from(value)]));
      }),
    );
  });

  test("what is cut off or has no sense is not read past", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => void listAttributes(Buffer.from(bytes))),
    );
    expect(listAttributes(Buffer.from([0xff, 0xff, 1, 0, 0]))).toEqual([]);
    expect(listAttributes(Buffer.from([3, 0, 1, 0]))).toEqual([]);
  });

  test("text ends at its NUL, or at the end", () => {
    expect(attributeText(Buffer.from("veth\0junk"))).toBe("veth");
    expect(attributeText(Buffer.from("veth"))).toBe("veth");
    expect(attributeText(undefined)).toBeUndefined();
  });
});

describe("datagrams", () => {
  const message = { type: 16, flags: 4, payload: Buffer.from([1, 2, 3]), op: "x", subject: "y" };

  test("a request has its length, its type and the request flag", () => {
    const bytes = encodeMessage(message, 7);
    expect(bytes.length).toBe(20);
    expect(bytes.readUInt32LE(0)).toBe(19);
    expect(bytes.readUInt16LE(6)).toBe(5);
    expect(bytes.readUInt32LE(8)).toBe(7);
  });

  test("replies and acknowledgements are told apart, in one datagram", () => {
    const ack = Buffer.alloc(36);
    ack.writeUInt32LE(36, 0);
    ack.writeUInt16LE(2, 4);
    ack.writeUInt32LE(8, 8);
    ack.writeInt32LE(-17, 16);
    const { replies, acks } = decodeDatagram(Buffer.concat([encodeMessage(message, 7), ack]));
    expect(replies).toMatchObject([{ type: 16, sequence: 7, payload: Buffer.from([1, 2, 3]) }]);
    expect(acks).toEqual([{ sequence: 8, errno: 17, detail: undefined }]);
  });

  test("the kernel's own words come after the request that it echoes, whole or capped", () => {
    const words = new AttributeWriter().text(1, "Device does not exist").finish();
    for (const [flags, echoed] of [
      [0x300, Buffer.alloc(16)],
      [0x200, encodeMessage(message, 9)],
    ] as const) {
      const error = Buffer.concat([Buffer.alloc(20), echoed, words]);
      error.writeUInt32LE(error.length, 0);
      error.writeUInt16LE(2, 4);
      error.writeUInt16LE(flags, 6);
      error.writeInt32LE(-19, 16);
      expect(decodeDatagram(error).acks).toMatchObject([{ errno: 19, detail: "Device does not exist" }]);
    }
  });

  test("a datagram that is cut off is read up to there", () => {
    const bytes = encodeMessage(message, 7);
    expect(decodeDatagram(bytes.subarray(0, 18))).toEqual({ replies: [], acks: [] });
  });
});
