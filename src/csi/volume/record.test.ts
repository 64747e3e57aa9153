import { describe, expect, test } from "vitest";
import { volumeIdFor } from "./id.ts";
import { encodeRecord, parseRecord, type VolumeRecord } from "./record.ts";

const id = volumeIdFor({ nodeId: "n", pool: "p", name: "one" });
const other = volumeIdFor({ nodeId: "n", pool: "p", name: "two" });
const record: VolumeRecord = {
  id,
  name: "one",
  pool: "p",
  sizeBytes: 5,
  created: "2026-01-01T00:00:00.000Z",
};

describe("parseRecord", () => {
  test.each<[string, VolumeRecord]>([
    ["without a claim", record],
    ["with a claim", { ...record, claim: { namespace: "prod", name: "data" } }],
    ["with a name of any letters", { ...record, name: '日本語 "\u{1F600}' }],
  ])("reads what encodeRecord wrote, %s", (_, written) => {
    expect(parseRecord(encodeRecord(written), id)).toEqual(written);
  });

  test("keeps reading records that later releases add fields to", () => {
    const text = JSON.stringify({ formatVersion: 1, ...record, labels: { a: "b" } });
    expect(parseRecord(Buffer.from(text), id)).toEqual(record);
  });

  const whole = { formatVersion: 1, ...record };
  test.each<[string, unknown]>([
    ["an empty file", ""],
    ["a torn file", encodeRecord(record).subarray(0, 40).toString()],
    ["no object", "7"],
    ["null", "null"],
    ["a format from the future", { ...whole, formatVersion: 2 }],
    ["no format", record],
    ["another volume's record", { ...whole, id: other }],
    ["an id that is a path", { ...whole, id: "../../etc" }],
    ["no size", { ...whole, sizeBytes: undefined }],
    ["a size of zero", { ...whole, sizeBytes: 0 }],
    ["a fractional size", { ...whole, sizeBytes: 1.5 }],
    ["a size in words", { ...whole, sizeBytes: "5" }],
    ["no name", { ...whole, name: undefined }],
  ])("refuses %s as precondition, naming the volume", (_, content) => {
    const text = typeof content === "string" ? content : JSON.stringify(content);
    expect(() => parseRecord(Buffer.from(text), id)).toThrow(
      expect.objectContaining({ kind: "precondition", subject: id }),
    );
  });
});
