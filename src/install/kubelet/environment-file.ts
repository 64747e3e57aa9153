/**
 * Files of `KEY=value` lines, such as /var/lib/kubelet/kubeadm-flags.env and /etc/default/kubelet, as systemd's EnvironmentFile= reads
 * them. Pure.
 */
import { type Mapped, plainly } from "./words.ts";

/** One assignment; the value without quotes, with its places in the file. */
export interface Assignment {
  readonly key: string;
  readonly value: Mapped;
}

/** All assignments in their order; a later one of the same key holds. Lines that are none are passed over. */
export function parseEnvironment(text: string): Assignment[] {
  const found: Assignment[] = [];
  let index = 0;
  while (index < text.length) {
    const [line = "", key = ""] =
      /^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=/.exec(lineAt(text, index)) ?? [];
    if (line === "") {
      index += lineAt(text, index).length + 1;
      continue;
    }
    const { value, end } = takeValue(text, index + line.length);
    found.push({ key, value });
    index = end + 1;
  }
  return found;
}

function lineAt(text: string, index: number): string {
  const end = text.indexOf("\n", index);
  return text.slice(index, end < 0 ? text.length : end);
}

/** To the end of the line that no quote and no backslash continues. */
function takeValue(text: string, start: number): { readonly value: Mapped; readonly end: number } {
  const indices: number[] = [];
  let quote = "";
  /** How many characters count for certain: unquoted white space at the end does not. */
  let kept = 0;
  let index = start;
  for (; index < text.length; index += 1) {
    const character = text[index] ?? "";
    if (character === "\n" && quote === "") break;
    if (character === "\\" && quote !== "'") {
      index += 1;
      if (index < text.length && text[index] !== "\n") indices.push(index);
      kept = indices.length;
    } else if (character === quote) quote = "";
    else if (quote === "" && (character === '"' || character === "'")) quote = character;
    else {
      if (quote === "" && indices.length === 0 && /\s/.test(character)) continue;
      indices.push(index);
      if (quote !== "" || !/\s/.test(character)) kept = indices.length;
    }
  }
  const counted = indices.slice(0, kept);
  return { value: { text: counted.map((from) => text[from]).join(""), at: counted }, end: index };
}

/** The variables that a file sets. */
export function variablesOf(text: string): ReadonlyMap<string, Mapped> {
  return new Map(parseEnvironment(text).map(({ key, value }) => [key, value]));
}

/** Nothing at all, where a variable is not set. */
export const noText: Mapped = plainly("");
