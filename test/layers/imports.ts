/**
 * The imports of a source file, read line by line: the formatter puts every import and export statement at the start
 * of a line, so no parser is needed. Comments are taken out first.
 */
import { posix } from "node:path";

export interface Import {
  /** A path from the root of the tree for a relative import; the specifier itself for a package or a Node module. */
  readonly target: string;
  /** `import type` and `export type` only: `import { type A }` still loads the module when the program runs. */
  readonly typeOnly: boolean;
  /** The imported names that are values; `*` for a namespace, a whole re-export or a dynamic import. */
  readonly values: readonly string[];
  /** `import("x")`: loaded when that line is reached, if ever. */
  readonly dynamic?: true;
}

/** Path from the root, such as `src/csi/identity.ts`, to source text. */
export type Tree = ReadonlyMap<string, string>;

/** The source with its comments blanked, as far as they stand on lines of their own or at a line's end. */
export function withoutComments(source: string): string {
  return source.replace(/^\s*\/\*[\s\S]*?\*\//gm, "").replace(/(^|\s)\/\/ .*$/gm, "$1");
}

const statement = /^(?:import|export)\b(?<clause>[^;"]*?)\bfrom\s+"(?<specifier>[^"]+)"/gm;
const bare = /^import\s+"(?<specifier>[^"]+)"/gm;
/** `import("x")` where it is called; `import("x").Name` in a type is not. */
const dynamic = /\bimport\(\s*"(?<specifier>[^"]+)"\s*,?\s*\)(?!\.[A-Z])/g;

export function importsOf(path: string, source: string): Import[] {
  const text = withoutComments(source);
  const found: Import[] = [];
  for (const { groups } of text.matchAll(statement)) {
    const clause = groups?.clause?.trim() ?? "";
    const typeOnly = /^type\b(?!\s*,)/.test(clause);
    const values = typeOnly ? [] : valuesOf(clause);
    found.push({ target: resolve(path, groups?.specifier ?? ""), typeOnly, values });
  }
  for (const pattern of [bare, dynamic]) {
    for (const { groups } of text.matchAll(pattern)) {
      const target = resolve(path, groups?.specifier ?? "");
      found.push({ target, typeOnly: false, values: ["*"], ...(pattern === dynamic && { dynamic: true }) });
    }
  }
  return found;
}

/** `a, { b, type C, d as e }` -> `default`, `b`, `d`. */
function valuesOf(clause: string): string[] {
  if (clause.includes("*")) return ["*"];
  const [outside = "", inside = ""] = clause.replace("}", "").split("{");
  const named = inside
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "" && !/^type\s/.test(part))
    .map((part) => part.split(/\s+as\s+/)[0] ?? part);
  return outside.replaceAll(",", "").trim() === "" ? named : ["default", ...named];
}

function resolve(from: string, specifier: string): string {
  return specifier.startsWith(".") ? posix.join(posix.dirname(from), specifier) : specifier;
}

/**
 * Everything that is loaded with `start`, itself included, with the way to it. Dynamic imports count. What files of `ends` load
 * does not.
 */
export function reach(
  tree: Tree,
  start: string,
  ends: readonly string[] = [],
): ReadonlyMap<string, readonly string[]> {
  const ways = new Map<string, readonly string[]>([[start, [start]]]);
  for (const [path, way] of ways) {
    if (ends.includes(path)) continue;
    for (const { target, typeOnly } of importsOf(path, tree.get(path) ?? "")) {
      if (!typeOnly && !ways.has(target)) ways.set(target, [...way, target]);
    }
  }
  return ways;
}
