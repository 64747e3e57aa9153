/** Regular expressions with RE2's rules: the time of a match grows with the text, never with the luck of the pattern. */
import { RE2JS } from "re2js";
import { ExpressionFailure } from "./failure.ts";

const MAX_PATTERN = 1_000;
/** Instructions of the compiled program: what a match may cost for each character. */
const MAX_PROGRAM = 2_000;
const MAX_TEXT = 32 << 10;

export interface Pattern {
  /** Whether it is found anywhere in the text. Throws for a text that is too long to search. */
  isIn(text: string): boolean;
  /** Steps that a search of this text costs. */
  costOf(text: string): number;
}

/** Throws an error that says what is wrong with the pattern. */
export function compilePattern(source: string): Pattern {
  if (source.length > MAX_PATTERN) throw new Error(`the pattern is longer than ${MAX_PATTERN} characters`);
  let pattern: RE2JS;
  try {
    pattern = RE2JS.compile(source);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`${JSON.stringify(source)} is no RE2 pattern: ${why}`);
  }
  const size = pattern.matcher("").programSize();
  if (size > MAX_PROGRAM) throw new Error(`the pattern is too large: write it with smaller repetitions`);
  return {
    isIn(text) {
      if (text.length > MAX_TEXT)
        throw new ExpressionFailure(`text of more than ${MAX_TEXT} characters is not searched`);
      return pattern.matcher(text).find();
    },
    // In the worst case every instruction runs for every character.
    costOf: (text) => Math.ceil((Math.min(text.length, MAX_TEXT) * (1 + size / 16)) / 4),
  };
}
