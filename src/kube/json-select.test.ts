/** The selecting reader against JSON.parse: the same values, however the bytes are cut. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createJsonSelector, type Wanted } from "./json-select.ts";

function select(wanted: Wanted, text: string, cuts: readonly number[] = []): [string, unknown][] {
  const found: [string, unknown][] = [];
  const selector = createJsonSelector(wanted, {
    value: (path, value) => found.push([path, value]),
    end: (path) => found.push([`end ${path}`, undefined]),
  });
  const bytes = Buffer.from(text);
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  let from = 0;
  for (const place of [...places, bytes.length]) {
    // A buffer of its own that is overwritten afterwards, as a socket's may be.
    const piece = Buffer.from(bytes.subarray(from, place));
    selector.feed(piece);
    piece.fill(0x78);
    from = place;
  }
  selector.finish();
  return found;
}

const nodes = {
  kind: "NodeList",
  metadata: { resourceVersion: "9", continue: 'to"ken' },
  items: [
    { metadata: { name: "a", labels: { name: "wrong", "x}": "]" } }, spec: { podCIDRs: ["10.0.0.0/24"] } },
    { metadata: { name: "b\\" }, spec: {} },
  ],
};
const wanted: Wanted = {
  metadata: { continue: true },
  items: { "*": { metadata: { name: true }, spec: { podCIDRs: true } } },
};

describe("the selecting reader", () => {
  it("takes the fields that are wanted in their order, and tells when their objects end", () => {
    expect(select(wanted, JSON.stringify(nodes, null, 2))).toEqual([
      ["metadata.continue", 'to"ken'],
      ["end metadata", undefined],
      ["items.*.metadata.name", "a"],
      ["end items.*.metadata", undefined],
      ["items.*.spec.podCIDRs", ["10.0.0.0/24"]],
      ["end items.*.spec", undefined],
      ["end items.*", undefined],
      ["items.*.metadata.name", "b\\"],
      ["end items.*.metadata", undefined],
      ["end items.*.spec", undefined],
      ["end items.*", undefined],
      ["end items", undefined],
      ["end ", undefined],
    ]);
  });

  it("gives the same however the bytes are cut", () => {
    const text = JSON.stringify(nodes);
    const whole = select(wanted, text);
    fc.assert(
      fc.property(fc.array(fc.nat()), (cuts) => {
        expect(select(wanted, text, cuts)).toEqual(whole);
      }),
      { numRuns: 200 },
    );
  });

  it("gives what JSON.parse gives, of any document and any field", () => {
    const documents = fc.dictionary(fc.string(), fc.jsonValue());
    fc.assert(
      fc.property(documents, fc.array(fc.nat()), fc.boolean(), (document, cuts, indented) => {
        const text = JSON.stringify(document, null, indented ? 1 : 0);
        const all = Object.fromEntries(Object.keys(document).map((key) => [key, true as const]));
        const found = select(all, text, cuts).slice(0, -1);
        const parsed = JSON.parse(text) as Record<string, unknown>;
        expect(found).toEqual(Object.keys(document).map((key) => [key, parsed[key]]));
      }),
      { numRuns: 200 },
    );
  });

  it("reads values that follow one another, with a number or a text at the end", () => {
    expect(select({ a: true }, '{"a":1}\n{"a":2.5e3}{"b":"a"}').filter(([path]) => path === "a")).toEqual([
      ["a", 1],
      ["a", 2500],
    ]);
  });

  it.each([
    ['{"a":1', "ends in the middle"],
    ['{"a":"', "ends in the middle"],
    ['{"a":1]', "brackets do not match"],
    ['{"a":1}}', "brackets do not match"],
    ["{1:2}", "a key that is no text"],
    ['{"a":tru}', "malformed JSON"],
    [`{"a":"${"x".repeat(70_000)}"}`, "longer than 65536 bytes"],
  ])("refuses %.20s", (text, why) => {
    expect(() => select({ a: true }, text)).toThrow(why);
  });

  it("takes an object of another kind where a text is wanted as it is, and nothing of a name in a prototype", () => {
    expect(select({ a: true }, '{"a":{"b":[1]},"toString":{"x":1}}')[0]).toEqual(["a", { b: [1] }]);
  });
});
