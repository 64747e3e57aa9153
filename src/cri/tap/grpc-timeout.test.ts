import { describe, expect, it } from "vitest";
import { parseTimeout } from "./grpc-timeout.ts";

describe("grpc-timeout", () => {
  it.each([
    ["2M", 120_000],
    ["10S", 10_000],
    ["99999999m", 99_999_999],
    ["8760000H", 8_760_000 * 3_600_000],
    ["1u", 0.001],
    ["0n", 0],
  ])("%s is %d ms", (text, ms) => {
    expect(parseTimeout(text)).toBe(ms);
  });

  it.each(["", "S", "1", "1s", "-1S", "1.5S", "123456789S", " 1S", "1S "])("%j is none", (text) => {
    expect(parseTimeout(text)).toBeUndefined();
  });
});
