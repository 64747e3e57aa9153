/**
 * Where the words of a service's command line come from: written in the unit, or in a variable that a file or the unit sets. Of a flag
 * that is given more than once the kubelet takes the last, so the last place is the one to change. Pure.
 */
import { noText, variablesOf } from "./environment-file.ts";
import type { Service } from "./unit.ts";
import { type FlagPlace, findFlag, type Mapped, plainly, splitWords, type Word } from "./words.ts";

/** Where a word is written. */
export type Origin =
  | { readonly kind: "command" }
  | { readonly kind: "unit-variable"; readonly name: string }
  | { readonly kind: "environment-file"; readonly path: string; readonly name: string };

export interface OriginWord extends Word {
  readonly origin: Origin;
}

/** A flag, what it says, and where that is written. The places are those in the file, the variable or the command line. */
export interface FoundFlag extends FlagPlace {
  readonly origin: Origin;
}

/** What a service starts, word by word, with `$NAME` split into words and `${NAME}` put in as it is. */
export function expandCommand(service: Service, files: ReadonlyMap<string, string>): OriginWord[] {
  const lookUp = createLookUp(service, files);
  const words = splitWords(plainly(service.commands.at(-1) ?? ""));
  return words.flatMap((word): OriginWord[] => {
    const [, name] = /^\$([A-Za-z_][A-Za-z0-9_]*)$/.exec(word.text) ?? [];
    if (name === undefined) return [{ ...insertVariables(word, lookUp), origin: { kind: "command" } }];
    const { value, origin } = lookUp(name);
    return splitWords(value).map((inner) => ({ ...inner, origin }));
  });
}

type LookUp = (name: string) => { readonly value: Mapped; readonly origin: Origin };

/** What files set goes over what the unit sets, and a later file over an earlier one. */
function createLookUp(service: Service, files: ReadonlyMap<string, string>): LookUp {
  return (name) => {
    for (const path of [...service.environmentFiles].reverse()) {
      const value = variablesOf(files.get(path) ?? "").get(name);
      if (value) return { value, origin: { kind: "environment-file", path, name } };
    }
    const text = service.environment.get(name);
    return { value: text === undefined ? noText : plainly(text), origin: { kind: "unit-variable", name } };
  };
}

/** `--flag=${NAME}` stays one word. The places of what was put in are lost: they lie in another file. */
function insertVariables(word: Word, lookUp: LookUp): Word {
  const text = word.text.replace(
    /\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g,
    (_, name: string) => lookUp(name).value.text,
  );
  return text === word.text ? word : { ...word, text, at: Array.from(text, () => -1) };
}

/** The place that holds for this flag. */
export function findOrigin(words: readonly OriginWord[], name: string): FoundFlag | undefined {
  const place = findFlag(words, name);
  if (!place) return undefined;
  const isOneWord = words[place.wordIndex]?.text.includes("=") === true;
  const word = words[place.wordIndex + (isOneWord ? 0 : 1)];
  return word && { ...place, origin: word.origin };
}
