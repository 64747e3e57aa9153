/**
 * Patterns for images in a policy's `images`: full names with `*` for a part of a path and `**` for any number of parts.
 * Matching takes time in proportion to pattern and name, whatever the pattern.
 */
import { cutReference, isRegistry, parseImage, splitName } from "./reference.ts";

export interface ImagePattern {
  /** As written. */
  readonly text: string;
  /** Whether it takes this image, in any of its spellings. Not for ids. */
  matches(image: string): boolean;
}

const MAX_PATTERN = 512;
const ALLOWED = /^[\w.:/@*+[\]-]+$/;

/** An Error that says what is wrong with the pattern, or undefined. */
export function imagePatternProblem(text: string): string | undefined {
  if (text.length > MAX_PATTERN) return `is longer than ${MAX_PATTERN} characters`;
  if (!ALLOWED.test(text))
    return "is no pattern of images: write names with *, such as registry.example.org/team/*";
  if (text.includes("***"))
    return "has more than two * in a row: * is a part of a path, ** any number of parts";
  return undefined;
}

export function compileImagePattern(text: string): ImagePattern {
  const { name, behind } = cutReference(text);
  const wanted = `${fullName(name)}${behind}`;
  const anyVersion = behind === "";
  return {
    text,
    matches(image) {
      const parsed = parseImage(image);
      if (!parsed) return false;
      const { registry, repository, tag, digest } = parsed;
      const own = `${registry}/${repository}`;
      if (anyVersion) return matchesGlob(wanted, own);
      // A reference with tag and digest is matched by a pattern of either.
      const spellings = [tag && `${own}:${tag}`, digest && `${own}@${digest}`, parsed.name];
      return spellings.some((spelling) => spelling !== "" && matchesGlob(wanted, spelling));
    },
  };
}

/** The pattern's name with its registry; a first part with a star can stand for a registry. */
function fullName(name: string): string {
  const slash = name.indexOf("/");
  const first = slash < 0 ? name : name.slice(0, slash);
  if (slash < 0 && /^\*+$/.test(name)) return "**";
  if (first === "**" || (slash >= 0 && first.includes("*") && !isRegistry(first))) return name;
  const { registry, repository } = splitName(name);
  return `${registry}/${repository}`;
}

/** `*` takes any characters but a slash, `**` any. One row of states, so no pattern can make it slow. */
export function matchesGlob(pattern: string, text: string): boolean {
  const tokens = pattern.match(/\*\*|\*|[^*]/g) ?? [];
  let states = new Uint8Array(tokens.length + 1);
  states[0] = 1;
  skipStars(tokens, states);
  for (const character of text) {
    const next = new Uint8Array(tokens.length + 1);
    for (const [index, token] of tokens.entries()) {
      if (!states[index]) continue;
      if (token === "**" || (token === "*" && character !== "/")) next[index] = 1;
      else if (token === character) next[index + 1] = 1;
    }
    skipStars(tokens, next);
    states = next;
  }
  return states[tokens.length] === 1;
}

/** A star takes nothing as well. */
function skipStars(tokens: readonly string[], states: Uint8Array): void {
  for (const [index, token] of tokens.entries()) {
    if (states[index] && token.startsWith("*")) states[index + 1] = 1;
  }
}
