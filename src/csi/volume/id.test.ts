import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseVolumeId, volumeIdFor } from "./id.ts";

const origin = { nodeId: "node-1", pool: "default", name: "pvc-1" };

describe("volumeIdFor", () => {
  test("is the same for the same request, whatever else happened", () => {
    expect(volumeIdFor(origin)).toBe(volumeIdFor({ ...origin }));
  });

  test.each([{ nodeId: "node-2" }, { pool: "other" }, { name: "pvc-2" }])("differs with %j", (change) => {
    expect(volumeIdFor({ ...origin, ...change })).not.toBe(volumeIdFor(origin));
  });

  test("has the form of an id for any name", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (name) => {
        const id = volumeIdFor({ ...origin, name });
        return id.length <= 63 && parseVolumeId(id) === id;
      }),
      { numRuns: 50 },
    );
  });
});

test.each([
  ...[
    "",
    "tv",
    "tv-aaaaaaaa",
    "TV-aaaaaaaa-aaaaaaaaaaaaaaaaaaaaaaaaaa",
    "tv-aaaaaaaa-aaaaaaaaaaaaaaaaaaaaaaaaaa\n",
  ],
  ...[
    "tv-aaaaaaaa-aaaaaaaaaaaaaaaaaaaaaaaaa/",
    "../tv-aaaaaaaa-aaaaaaaaaaaaaaaaaaaaaaaaaa",
    "tv-00000000-11111111111111111111111111",
  ],
  "tv-aaaaaaaa-aaaaaaaaaaaaaaaaaaaaaaaaaa\0",
])("parseVolumeId knows no volume %j", (text) => {
  expect(parseVolumeId(text)).toBeUndefined();
});
