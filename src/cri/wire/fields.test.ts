import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TrivetError } from "../../errors.ts";
import { bytesField, entryField, nested } from "./encode.ts";
import { eachValue, FieldWalk, MessageReader } from "./fields.ts";

const join = (...parts: Uint8Array[]) => Buffer.concat(parts);
const text = (message: Uint8Array, path: readonly number[]) => new MessageReader(message).text(path);
const submessage = (message: Uint8Array, path: readonly number[]) =>
  new MessageReader(message).submessage(path);

function fields(message: Uint8Array) {
  const found: { number: number; type: number; start: number; valueStart: number; end: number }[] = [];
  const walk = new FieldWalk(message);
  while (walk.next()) {
    const { number, type, start, valueStart, end } = walk;
    found.push({ number, type, start, valueStart, end });
  }
  return found;
}

describe("reading the protobuf wire", () => {
  it("walks over every wire type that the API uses", () => {
    const message = Buffer.from([
      ...[0x08, 0x96, 0x01], // 1: varint 150
      ...[0x11, 1, 2, 3, 4, 5, 6, 7, 8], // 2: fixed64
      ...[0x1a, 0x02, 0x68, 0x69], // 3: "hi"
      ...[0x25, 1, 2, 3, 4], // 4: fixed32
    ]);
    const found = fields(message).map(({ number, type, start, end }) => [number, type, start, end]);
    expect(found).toEqual([
      [1, 0, 0, 3],
      [2, 1, 3, 12],
      [3, 2, 12, 16],
      [4, 5, 16, 21],
    ]);
  });

  it("reads field numbers and lengths of more than one byte", () => {
    const message = bytesField(1_000, "x".repeat(300));
    const lengths: number[] = [];
    eachValue(message, 1_000, (start, end) => lengths.push(end - start));
    expect(lengths).toEqual([300]);
  });

  it("joins the occurrences of a submessage, as merging wants", () => {
    const message = join(nested([1], bytesField(2, "a")), nested([1], bytesField(3, "b")));
    expect(text(message, [1, 2])).toBe("a");
    expect(text(message, [1, 3])).toBe("b");
  });

  it("joins any number of occurrences, also such that say nothing", () => {
    const many = join(
      ...Array.from({ length: 1_000 }, () => bytesField(1, "")),
      nested([1, 2], bytesField(3, "c")),
    );
    const reader = new MessageReader(many);
    expect(reader.text([1, 2, 3])).toBe("c");
    expect(reader.submessage([1])).toBe(reader.submessage([1])); // read once
  });

  it("takes the last occurrence of a string", () => {
    expect(text(join(bytesField(1, "old"), bytesField(1, "new")), [1])).toBe("new");
  });

  it("tells an absent submessage from an empty one", () => {
    expect(submessage(bytesField(1, ""), [1])).toHaveLength(0);
    expect(submessage(Buffer.alloc(0), [1])).toBeUndefined();
    expect(text(Buffer.alloc(0), [1, 2, 3])).toBe("");
  });

  it.each([
    ["a tag that is cut off", [0x80]],
    ["a length beyond the end", [0x0a, 0x05, 0x61]],
    ["a fixed64 that is cut off", [0x09, 1, 2, 3]],
    ["field number 0", [0x02, 0x00]],
    ["a group", [0x0b, 0x0c]],
    ["a number of eleven bytes", [0x08, ...Array.from({ length: 10 }, () => 0x80), 0x01]],
  ])("refuses %s with an error of kind decode", (_, bytes) => {
    expect(() => fields(Buffer.from(bytes))).toThrow(expect.objectContaining({ kind: "decode" }));
  });

  it("never throws anything else, and never reads outside the message", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        try {
          for (const field of fields(bytes)) {
            expect(field.end).toBeLessThanOrEqual(bytes.length);
            expect(field.valueStart).toBeGreaterThan(field.start);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(TrivetError);
        }
      }),
    );
  });

  it("reads back what the encoder writes, at any depth", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 20_000 }), { minLength: 1, maxLength: 4 }),
        fc.string(),
        fc.string(),
        (path, key, value) => {
          const message = nested(path, entryField(7, key, value));
          expect(text(message, [...path, 7, 1])).toBe(Buffer.from(key).toString());
          expect(text(message, [...path, 7, 2])).toBe(Buffer.from(value).toString());
        },
      ),
    );
  });
});
