/**
 * Flags over environment over one YAML file over defaults, checked against one schema, with every problem
 * listed at once. Pure: reads nothing by itself.
 */
import * as v from "valibot";
import { parseDocument, type YAMLParseError } from "yaml";
import { TrivetError } from "../errors.ts";

/** Where a value came from, by the dotted path that it has in the file. */
export interface ConfigSources {
  readonly file?: { readonly path: string; readonly text: string };
  /** Values by path, and how the user named each: a flag or a variable. Later ones win. */
  readonly overrides: readonly { readonly path: string; readonly from: string; readonly value: unknown }[];
}

type Tree = Record<string, unknown>;

/** `kind: invalid`; the process ends with code 2. */
export class ConfigError extends TrivetError {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    const list = problems.map((problem) => `  ${problem}`).join("\n");
    const message = `the configuration cannot be used:\n${list}`;
    super({ kind: "invalid", op: "config.load", subject: "configuration", message });
    this.problems = problems;
  }
}

/** What the library says without the excerpt that it puts below, and in our words where its own are for programmers. */
function yamlProblem(error: YAMLParseError): string {
  if (error.code === "MULTIPLE_DOCS") return "must hold one document: nothing may stand behind `---`";
  return error.message.split(/:?\n/)[0] ?? "";
}

function readFile({ path, text }: { path: string; text: string }, problems: string[]): Tree {
  const document = parseDocument(text);
  problems.push(...document.errors.map((error) => `${path}: ${yamlProblem(error)}`));
  if (document.errors.length > 0) return {};
  let value: unknown;
  try {
    value = document.toJS();
  } catch (error) {
    // Aliases are resolved only now: one of nothing, or so many that they would fill the memory.
    problems.push(`${path}: ${error instanceof Error ? error.message : String(error)}`);
    return {};
  }
  if (value === null || value === undefined) return {};
  if (typeof value === "object" && !Array.isArray(value)) return value as Tree;
  problems.push(`${path}: must hold a mapping of settings`);
  return {};
}

function setPath(tree: Tree, path: string, value: unknown): void {
  const parts = path.split(".");
  const last = parts.pop() ?? path;
  let holder = tree;
  for (const part of parts) {
    const next = holder[part] ?? {};
    if (typeof next !== "object" || Array.isArray(next)) return; // for the schema to refuse
    holder[part] = next;
    holder = next as Tree;
  }
  holder[last] = value;
}

/** A path as a user writes it: `node.csi.pools[0].budget`. */
function pathOf(issue: v.BaseIssue<unknown>): string {
  const keys = (issue.path ?? []).map(({ key }) =>
    typeof key === "number" ? `[${key}]` : `.${String(key)}`,
  );
  return keys.join("").replace(/^\./, "") || "the file";
}

function describe(issue: v.BaseIssue<unknown>, { file, overrides }: ConfigSources): string {
  const path = pathOf(issue);
  const override = overrides.findLast(
    (candidate) => path === candidate.path || path.startsWith(`${candidate.path}[`),
  );
  const from = override ? override.from : file?.path;
  const where = from ? `${path} (${from})` : path;
  if (issue.kind === "schema" && issue.expected === "never") return `${where}: no such setting`;
  if (issue.received === "undefined") return `${where}: is missing`;
  if (issue.received === "null") return `${where}: is empty: give it a value, or leave it out`;
  if (issue.type === "strict_object") return `${where}: must be a mapping of settings`;
  return `${where}: ${issue.message}`;
}

/** The checked configuration. Throws ConfigError with all problems. */
export function loadConfig<Schema extends v.GenericSchema>(
  schema: Schema,
  sources: ConfigSources,
): v.InferOutput<Schema> {
  const problems: string[] = [];
  const tree = sources.file ? readFile(sources.file, problems) : {};
  for (const { path, value } of sources.overrides) setPath(tree, path, value);
  const result = v.safeParse(schema, tree);
  if (!result.success) problems.push(...result.issues.map((issue) => describe(issue, sources)));
  if (problems.length > 0 || !result.success) throw new ConfigError(problems);
  return result.output;
}
