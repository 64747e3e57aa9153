/** Checks a tree of sources against the rules; gives one line for each breach, with the reason for its rule. */
import { posix } from "node:path";
import { type Import, importsOf, reach, type Tree, withoutComments } from "./imports.ts";
import {
  allowedValues,
  demoMayImport,
  emptyNames,
  type Folder,
  folders,
  lazyFromCri,
  MAX_LINES,
  packages,
  processEdges,
  pureNodeModules,
  rules,
  socketEdges,
  unreachableFromCri,
} from "./rules.ts";

const legs: readonly Folder[] = ["csi", "cni", "cri"];

/** `src/csi/x.ts` -> `csi`, `src/errors.ts` -> `errors`; undefined for a folder that the rules do not name. */
export function folderOf(path: string): Folder | undefined {
  const [top, second = ""] = path.split("/");
  const name = top === "test" ? "test" : second.replace(/\.ts$/, "");
  return folders.find((folder) => folder === name);
}

const isTest = (path: string) => path.endsWith(".test.ts");
const isBelow = (path: string, prefixes: readonly string[]) =>
  prefixes.some((prefix) => path.startsWith(prefix));

/** Every breach in the shipped sources and in the fakes. */
export function checkTree(tree: Tree): string[] {
  const breaches: string[] = [];
  for (const [path, source] of tree) {
    if (isTest(path)) continue;
    const report = (text: string) => breaches.push(`${path}: ${text}`);
    if (path.startsWith("src/")) {
      checkFile(path, source, report);
      for (const found of importsOf(path, source)) checkImport(path, found, report);
    } else if (isBelow(path, demoMayImport)) checkFake(path, source, report);
  }
  return [...breaches, ...checkProxy(tree)];
}

type Report = (text: string) => void;

function checkFile(path: string, source: string, report: Report): void {
  const lines = source.split("\n").length - 1;
  if (lines > MAX_LINES) report(`has ${lines} lines: ${MAX_LINES} are the limit`);
  const name = posix.basename(path, ".ts");
  if (emptyNames.includes(name)) report(`the name ${name} does not say what the file owns`);
  if (!/^(#!.*\n)?\/(\*\*|\/) ?\S|^(#!.*\n)?\/\*\*\n \* \S/.test(source))
    report("does not open with a comment");
  if (isBelow(path, processEdges)) return;
  const use = /\bprocess\.(env|argv|exit|exitCode)\b/.exec(withoutComments(source));
  if (use) report(`uses ${use[0]}: only main and the verbs deal with the process itself`);
}

function checkImport(path: string, found: Import, report: Report): void {
  const { target } = found;
  const isEager = !found.typeOnly && !found.dynamic;
  if (isEager && target in lazyFromCri) report(`loads ${target} at once: ${lazyFromCri[target]}`);
  if (target.startsWith("src/") || target.startsWith("test/")) checkEdge(path, found, report);
  else if (target.startsWith("node:")) checkNodeModule(path, found, report);
  else checkPackage(path, found, report);
}

function checkEdge(path: string, { target, typeOnly, values }: Import, report: Report): void {
  const from = folderOf(path);
  const to = folderOf(target);
  if (!from || !to) {
    report(`imports ${target}: the rules name no folder for ${from ? target : path}`);
    return;
  }
  if (to === "test" && isBelow(path, ["src/commands/demo"]) && isBelow(target, demoMayImport)) return;
  if (/\.test\.ts$|\/testing\//.test(target) && !path.includes("/testing/")) {
    report(`imports ${target}: what is shipped must not need the tests`);
    return;
  }
  const { may, never, typesOnly } = rules[from];
  const reason = typesOnly?.[to];
  if (reason !== undefined) {
    if (typeOnly) return;
    const refused = values.filter((name) => !(name in allowedValues));
    if (values.length === 0) report(`loads ${target} for types only: write "import type"`);
    if (refused.length > 0) report(`imports ${refused.join(", ")} from ${target}: ${reason}`);
  } else if (!may.includes(to)) report(`imports ${target}: ${never[to] ?? "the rules do not allow it"}`);
}

function checkNodeModule(path: string, { target, typeOnly }: Import, report: Report): void {
  const from = folderOf(path);
  if (!from || !legs.includes(from) || typeOnly || pureNodeModules.includes(target)) return;
  // What tests a leg may play its peers with real sockets; nothing that is shipped may import it.
  if (path.includes("/testing/")) return;
  if (["node:net", "node:http2"].includes(target) && socketEdges.includes(path)) return;
  report(`imports ${target}: a leg touches the machine only by the effects that it is given`);
}

function checkPackage(path: string, { target, typeOnly }: Import, report: Report): void {
  const name = target
    .split("/")
    .slice(0, target.startsWith("@") ? 2 : 1)
    .join("/");
  const rule = packages[name];
  if (!rule) report(`imports ${target}: no rule says who may use that package`);
  else if (!isBelow(path, rule.by) && !typeOnly) report(`imports ${target}: ${rule.why}`);
}

function checkFake(path: string, source: string, report: Report): void {
  const found = importsOf(path, source).find(({ target }) => target === "vitest" || isTest(target));
  if (found) report(`imports ${found.target}: the demo runs the fakes without a test framework`);
}

/** The proxy must stay loadable without the rest, also by way of something that something imports. */
function checkProxy(tree: Tree): string[] {
  const breaches: string[] = [];
  for (const path of tree.keys()) {
    const isVerb = path === "src/commands/cri.ts";
    if (isTest(path) || !(isVerb || path.startsWith("src/cri/"))) continue;
    for (const [target, way] of reach(tree, path, Object.keys(lazyFromCri))) {
      const outside =
        target.startsWith("src/") && !["cri", "errors", "observe"].includes(folderOf(target) ?? "");
      const viaObserve = way.some((step) => step.startsWith("src/observe/"));
      const forbidden = isVerb || viaObserve ? isBelow(target, unreachableFromCri) : outside;
      if (forbidden)
        breaches.push(`${path}: reaches ${target} by ${way.join(" -> ")}: the proxy stands alone`);
    }
  }
  return breaches;
}

/** Edges that the rules say nothing or two things about. */
export function checkRules(): string[] {
  return folders.flatMap((from) =>
    folders.flatMap((to) => {
      const { may, typesOnly = {}, never } = rules[from];
      const said = [may.includes(to), to in typesOnly, to in never].filter(Boolean).length;
      const toItself = from === to && said === 0;
      return said === 1 || toItself ? [] : [`${from} -> ${to} is said ${said} times`];
    }),
  );
}
