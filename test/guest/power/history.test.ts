import { describe, expect, test } from "vitest";
import { contentOf, expectationsOf, type Line } from "./history.ts";

const content = { seed: 7, bytes: 64 };
const made: Line[] = [
  { state: "do", op: "create", name: "v", bytes: 10 },
  { state: "ack", op: "create", name: "v", bytes: 10, id: "tv-1" },
  { state: "do", op: "write", name: "v", file: "f", content },
  { state: "ack", op: "write", name: "v", file: "f", content },
];
const v = (...more: Line[]) => expectationsOf([...made, ...more]).get("v");

describe("what must be there after a power cut", () => {
  test("a volume that was acknowledged, with the files that were", () => {
    expect(v()).toMatchObject({
      certainty: "there",
      id: "tv-1",
      bytes: 10,
      mostBytes: 10,
      files: { f: content },
    });
  });

  test.each<[string, Line[], object]>([
    [
      "a write that was not acknowledged promises nothing",
      [{ ...made[2], file: "g" } as Line],
      { files: { f: content } },
    ],
    [
      "an expansion under way may have happened",
      [{ state: "do", op: "expand", name: "v", bytes: 20 }],
      { bytes: 10, mostBytes: 20 },
    ],
    [
      "an expansion that was acknowledged has",
      [{ state: "ack", op: "expand", name: "v", bytes: 20 }],
      { bytes: 20, mostBytes: 20 },
    ],
    [
      "a deletion under way may have happened",
      [{ state: "do", op: "delete", name: "v" }],
      { certainty: "going" },
    ],
    [
      "a deletion that was acknowledged has",
      [{ state: "ack", op: "delete", name: "v" }],
      { certainty: "gone" },
    ],
  ])("%s", (_, more, expected) => {
    expect(v(...more)).toMatchObject(expected);
  });

  test("a copy has what its source had when it was begun, and no more", () => {
    const all = expectationsOf([
      ...made,
      { state: "do", op: "snapshot", name: "s", of: "v" },
      { state: "ack", op: "write", name: "v", file: "later", content },
      { state: "do", op: "create", name: "c", bytes: 10, from: { kind: "snapshot", name: "s" } },
    ]);
    expect(all.get("s")).toMatchObject({
      kind: "snapshot",
      certainty: "begun",
      bytes: 10,
      files: { f: content },
    });
    expect(Object.keys(all.get("c")?.files ?? {})).toEqual(["f"]);
  });
});

test("a seed gives one content, and another seed another", () => {
  expect(contentOf(content)).toEqual(contentOf({ ...content }));
  expect(contentOf(content)).not.toEqual(contentOf({ ...content, seed: 8 }));
});
