/**
 * The documents of a YAML file in the shape of a schema, or every problem of it. What stands in the file may be secret: problems
 * never quote it.
 */
import * as v from "valibot";
import { type Document, parseAllDocuments } from "yaml";
import { nearestName } from "../wire/nearest.ts";
import type { PolicyProblem } from "./problem.ts";

export interface PolicySource {
  /** Shown in errors. */
  readonly file: string;
  readonly text: string;
}

/** A document, and where it stands. */
export interface Placed<T> {
  readonly file: string;
  /** Its place in the file, from 1. */
  readonly index: number;
  readonly document: T;
}

type Note = (problem: Pick<PolicyProblem, "path" | "message">) => void;

/** A document's value; null for an empty one, and for one that is no YAML, whose problems are noted. */
function readDocument(document: Document, note: Note): unknown {
  for (const { message, linePos } of document.errors) {
    // What stands behind a colon, or on the lines below, is quoted from the file: that may be secret.
    const [what] = message.split(/: | at line |\n/);
    const start = linePos?.[0];
    note({ path: "", message: `${what}${start ? ` at line ${start.line}, column ${start.col}` : ""}` });
  }
  if (document.errors.length > 0) return null;
  try {
    return document.toJS();
  } catch (error) {
    // Aliases are resolved only now: one of nothing, or so many that they would fill the memory.
    note({ path: "", message: error instanceof Error ? error.message : String(error) });
    return null;
  }
}

interface Shape {
  readonly wrapped?: unknown;
  readonly pipe?: readonly unknown[];
  readonly item?: unknown;
  readonly entries?: Readonly<Record<string, unknown>>;
}

/** The part of a schema that says what is inside: optional values and pipes are taken off. */
function innerShape(schema: unknown): Shape | undefined {
  if (typeof schema !== "object" || schema === null) return undefined;
  const { wrapped, pipe, item, entries } = schema as Shape;
  if (entries ?? item) return schema as Shape;
  if (wrapped) return innerShape(wrapped);
  return pipe
    ?.map((part) => (part === schema ? undefined : innerShape(part)))
    .find((part) => part !== undefined);
}

/** The names of the fields of the mapping that lies at this path in a schema. */
function fieldsAt(schema: unknown, path: readonly PropertyKey[]): string[] {
  let shape = innerShape(schema);
  for (const key of path) {
    shape = innerShape(typeof key === "number" ? shape?.item : shape?.entries?.[String(key)]);
  }
  return Object.keys(shape?.entries ?? {});
}

function describeIssue(
  schema: unknown,
  issue: v.BaseIssue<unknown>,
): Pick<PolicyProblem, "path" | "message"> {
  const path = v.getDotPath(issue) ?? "the document";
  // A strict object reports its unknown keys with the expected type "never".
  if (issue.kind === "schema" && issue.expected === "never") {
    const keys = (issue.path ?? []).map(({ key }) => key as PropertyKey);
    const near = nearestName(String(keys.at(-1)), fieldsAt(schema, keys.slice(0, -1)));
    return { path, message: `no such field${near === undefined ? "" : `, did you mean ${near}?`}` };
  }
  return { path, message: issue.received === "undefined" ? "is missing" : issue.message };
}

/** The documents of a file that have the right shape; what is wrong with the others is added to the problems. */
export function readDocuments<Schema extends v.GenericSchema>(
  schema: Schema,
  { file, text }: PolicySource,
  problems: PolicyProblem[],
): Placed<v.InferOutput<Schema>>[] {
  const found: Placed<v.InferOutput<Schema>>[] = [];
  for (const [before, parsed] of parseAllDocuments(text).entries()) {
    const index = before + 1;
    const note: Note = (problem) => problems.push({ file, document: index, ...problem });
    const value = readDocument(parsed, note);
    if (value === null) continue;
    const result = v.safeParse(schema, value);
    if (result.success) found.push({ file, index, document: result.output });
    else for (const issue of result.issues) note(describeIssue(schema, issue));
  }
  return found;
}

/** The one document of a text that people wrote, such as a request; a text that is no YAML is a problem. */
export function readValue({ file, text }: PolicySource, problems: PolicyProblem[]): unknown {
  const documents = parseAllDocuments(text);
  const [first] = documents;
  if (!first) return undefined;
  if (documents.length > 1)
    problems.push({ file, document: 2, path: "", message: "is one document too many" });
  return readDocument(first, (problem) => problems.push({ file, document: 1, ...problem }));
}
