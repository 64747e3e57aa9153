/**
 * Words of command lines, each with the places in the file that its characters come from: so that one value can be replaced and
 * everything around it, quotes and continuations too, stays as it was. The quoting is systemd's, which for what kubelets are given
 * is also the shell's.
 */

/** Text without its quotes and escapes; `at[i]` is where character `i` lies in the source. */
export interface Mapped {
  readonly text: string;
  readonly at: readonly number[];
}

/** One word, and where it ends in the source, closing quotes included. */
export interface Word extends Mapped {
  readonly start: number;
  readonly end: number;
}

/** A text as it is, its first character at `offset` of the source. */
export function plainly(text: string, offset = 0): Mapped {
  return { text, at: Array.from(text, (_, index) => offset + index) };
}

const isBlank = (character: string) => /\s/.test(character);

/** Splits at white space outside quotes, and takes quotes and backslashes away. A backslash at a line's end is white space. */
export function splitWords({ text, at }: Mapped): Word[] {
  const words: Word[] = [];
  const place = (index: number) => at[index] ?? (at.at(-1) ?? -1) + 1;
  let index = 0;
  const isContinuation = () => text[index] === "\\" && text[index + 1] === "\n";
  const isBetween = () => index < text.length && (isBlank(text[index] ?? "") || isContinuation());
  for (;;) {
    while (isBetween()) index += isContinuation() ? 2 : 1;
    if (index >= text.length) return words;
    const start = place(index);
    const taken = takeWord(text, index);
    const last = place(taken.end - 1);
    words.push({
      start,
      end: last + 1,
      text: taken.indices.map((from) => text[from]).join(""),
      at: taken.indices.map(place),
    });
    index = taken.end;
  }
}

/** From `start` to white space outside quotes: the indices of the characters that count. */
function takeWord(text: string, start: number): { readonly indices: number[]; readonly end: number } {
  const indices: number[] = [];
  let quote = "";
  let index = start;
  for (; index < text.length; index += 1) {
    const character = text[index] ?? "";
    if (quote === "" && isBlank(character)) break;
    if (character === "\\" && quote !== "'") {
      if (text[index + 1] === "\n") {
        if (quote === "") break;
        index += 1;
        continue;
      }
      index += 1;
      if (index < text.length) indices.push(index);
    } else if (character === quote) quote = "";
    else if (quote === "" && (character === '"' || character === "'")) quote = character;
    else indices.push(index);
  }
  return { indices, end: index };
}

/** A flag's value among words, as `--name=value` or `--name value`; the last one, which is the one that holds. */
export interface FlagPlace {
  readonly value: string;
  /** The part of the source that the value takes; empty, and where it would be, for an empty value. */
  readonly start: number;
  readonly end: number;
  /** Of the word that the flag begins in. */
  readonly wordIndex: number;
}

/** The last place where a flag of this name, without its dashes, is given. */
export function findFlag(words: readonly Word[], name: string): FlagPlace | undefined {
  const flag = `--${name}`;
  // The kubelet takes underscores in a flag's name for dashes (component-base, WordSepNormalizeFunc).
  const written = (text: string) => text.replace(/^--[^=]*/, (dashed) => dashed.replaceAll("_", "-"));
  for (let index = words.length - 1; index >= 0; index -= 1) {
    const word = words[index];
    if (!word) continue;
    const text = written(word.text);
    if (text.startsWith(`${flag}=`)) return placeOf(word, flag.length + 1, index);
    const next = words[index + 1];
    if (text === flag && next) return { ...placeOf(next, 0, index), wordIndex: index };
  }
  return undefined;
}

function placeOf(word: Word, from: number, wordIndex: number): FlagPlace {
  const first = word.at[from];
  const last = word.at.at(-1);
  const isEmpty = first === undefined || last === undefined;
  return {
    value: word.text.slice(from),
    start: isEmpty ? word.end : first,
    end: isEmpty ? word.end : last + 1,
    wordIndex,
  };
}

/** The value of a flag in an argument vector, as the kubelet takes it: the last one. */
export function flagOf(argv: readonly string[], name: string): string | undefined {
  return findFlag(
    argv.map((text) => ({ ...plainly(text), start: 0, end: text.length })),
    name,
  )?.value;
}

/** Puts `value` in place of what is between `start` and `end`. */
export function splice(
  source: string,
  { start, end }: { start: number; end: number },
  value: string,
): string {
  return source.slice(0, start) + value + source.slice(end);
}
