import { expect, test } from "vitest";
import { hashLetters } from "./base32.ts";

// Made with another implementation: base32 of the SHA-256 of the text, in lower case.
test.each([
  ["", "4oymiquy7qobjgx36tejs35zeqt24qpemsnzgtfeswmrw6csxbkq"],
  ["node-1", "gwlrxzxjxmbevckvql7a4qxajbekq3nfkcvo6d6mx65in6m7mf6q"],
  ["größe \u{1F600}", "bkg7xavcwaxqe2ycjxq7ezfqulz23r6xbovkb6oebsn3ywleifba"],
])("the letters of %j", (text, whole) => {
  for (const letters of [1, 8, 26, 51]) expect(hashLetters(text, letters)).toBe(whole.slice(0, letters));
});
