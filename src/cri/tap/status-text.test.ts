import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeStatusText, encodeStatusText } from "./status-text.ts";

describe("grpc-message", () => {
  it.each([
    ["plain text: [x]", "plain text: [x]"],
    ["100%", "100%25"],
    ["ü", "%C3%BC"],
    ["a\nb\u0000", "a%0Ab%00"],
    ["🙂", "%F0%9F%99%82"],
    ["~\u007f", "~%7F"],
  ])("%j is sent as %j, and read back", (text, wire) => {
    expect(encodeStatusText(text)).toBe(wire);
    expect(decodeStatusText(wire)).toBe(text);
  });

  it("reads back whatever it wrote, in printable ASCII", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 100 }), (text) => {
        const wire = encodeStatusText(text);
        expect(wire).toMatch(/^[ -~]*$/);
        expect(decodeStatusText(wire)).toBe(text);
      }),
    );
  });

  it("is cut at 2 KiB, between characters", () => {
    expect(encodeStatusText("x".repeat(5_000))).toHaveLength(2_048);
    expect(encodeStatusText("ü".repeat(5_000))).toBe("%C3%BC".repeat(341));
  });

  it("stands as it is where a peer's percent-encoding is wrong", () => {
    expect(decodeStatusText("100% sure %zz %4")).toBe("100% sure %zz %4");
  });
});
