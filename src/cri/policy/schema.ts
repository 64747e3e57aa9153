/**
 * What a RuntimePolicy file may say, and what it means. Pure: text in, policies or every problem out. Problems
 * carry the path of the field, so that a file can be mended in one go.
 */
import * as v from "valibot";
import { type Document, parseAllDocuments } from "yaml";
import { TrivetError } from "../../errors.ts";

export const policyApiVersion = "trivet.dev/v1alpha1";

/** The calls that a policy can change today. */
export const policyMethods = ["RunPodSandbox", "CreateContainer"] as const;
export type PolicyMethod = (typeof policyMethods)[number];

/** The fields that `add` knows, as written in the request of each method. */
export const additionPaths = ["config.envs", "config.labels", "config.annotations"] as const;
export type AdditionPath = (typeof additionPaths)[number];

/** Adds each entry whose key is not there yet; what is there stays as it is. */
export interface Addition {
  readonly path: AdditionPath;
  readonly entries: ReadonlyMap<string, string>;
}

export interface RuntimePolicy {
  readonly name: string;
  readonly methods: ReadonlySet<PolicyMethod>;
  /** Pod namespaces; undefined for all but the exempt ones. */
  readonly namespaces: ReadonlySet<string> | undefined;
  readonly additions: readonly Addition[];
}

export interface PolicySource {
  /** Shown in errors. */
  readonly file: string;
  readonly text: string;
}

// Kubernetes' own bookkeeping (pod uid, hashes, restart counts): a kubelet that reads it changed loses its pods.
const RESERVED_KEY = /^io\.kubernetes\.|^([a-z0-9.-]+\.)?(kubernetes|k8s)\.io\//;
const ENV_NAME = /^[^=\0]+$/;

const names = (what: string) => v.pipe(v.string(`${what} must be text`), v.minLength(1, `${what} is empty`));

// The library's own messages show what they found, and a value may be secret: every type has a message of ours.
const MAPPING = "must be a mapping";
const LIST = "must be a list";

// The library leaves these out of a record without a word.
const droppedKeys = ["__proto__", "prototype", "constructor"];

function hasNoDroppedKey(values: unknown): boolean {
  if (typeof values !== "object" || values === null) return true;
  return droppedKeys.every((key) => !Object.hasOwn(values, key));
}

const mutationSchema = v.pipe(
  v.strictObject(
    {
      op: v.literal("add", 'only "add" is known'),
      path: v.picklist(additionPaths, `must be one of ${additionPaths.join(", ")}`),
      values: v.pipe(
        v.unknown(),
        v.check((values) => !Array.isArray(values), MAPPING), // to the library a list is a record with numbers for names
        v.check(hasNoDroppedKey, `holds a name that cannot be used here: ${droppedKeys.join(", ")}`),
        v.record(names("a name"), v.string('must be text: put it in quotes, as in "8080"'), MAPPING),
        v.check((values) => Object.keys(values).length > 0, "names nothing to add"),
      ),
    },
    MAPPING,
  ),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return;
    for (const key of Object.keys(dataset.value.values)) {
      const problem = keyProblem(dataset.value.path, key);
      if (problem) addIssue({ message: `values["${key}"]: ${problem}` });
    }
  }),
);

function keyProblem(path: AdditionPath, key: string): string | undefined {
  if (path === "config.envs") return ENV_NAME.test(key) ? undefined : "is no name of an environment variable";
  return RESERVED_KEY.test(key) ? "belongs to Kubernetes: choose a key of your own domain" : undefined;
}

const policySchema = v.strictObject(
  {
    apiVersion: v.literal(policyApiVersion, `must be ${policyApiVersion}`),
    kind: v.literal("RuntimePolicy", "must be RuntimePolicy"),
    metadata: v.strictObject({ name: names("the name") }, MAPPING),
    spec: v.pipe(
      v.strictObject(
        {
          methods: v.pipe(
            v.array(v.picklist(policyMethods, `must be one of ${policyMethods.join(", ")}`), LIST),
            v.minLength(1, "names no method"),
          ),
          namespaces: v.optional(
            v.pipe(v.array(names("a namespace"), LIST), v.minLength(1, "names no namespace")),
          ),
          mutations: v.pipe(v.array(mutationSchema, LIST), v.minLength(1, "changes nothing")),
        },
        MAPPING,
      ),
      v.check(
        ({ methods, mutations }) =>
          !methods.includes("RunPodSandbox") || mutations.every(({ path }) => path !== "config.envs"),
        "a sandbox has no environment: config.envs goes with CreateContainer alone",
      ),
    ),
  },
  MAPPING,
);

type PolicyDocument = v.InferOutput<typeof policySchema>;

function toPolicy({ metadata, spec }: PolicyDocument): RuntimePolicy {
  return {
    name: metadata.name,
    methods: new Set(spec.methods),
    namespaces: spec.namespaces && new Set(spec.namespaces),
    additions: spec.mutations.map(({ path, values }) => ({ path, entries: new Map(Object.entries(values)) })),
  };
}

/** A document's value; null for an empty one, and for one that is no YAML, whose problems are added. */
function readDocument(document: Document, where: string, problems: string[]): unknown {
  for (const { message, linePos } of document.errors) {
    // What stands behind a colon, or on the lines below, is quoted from the file: that may be secret.
    const [what] = message.split(/: | at line |\n/);
    const start = linePos?.[0];
    problems.push(`${where}: ${what}${start ? ` at line ${start.line}, column ${start.col}` : ""}`);
  }
  if (document.errors.length > 0) return null;
  try {
    return document.toJS();
  } catch (error) {
    // Aliases are resolved only now: one of nothing, or so many that they would fill the memory.
    problems.push(`${where}: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  }
}

function readFile({ file, text }: PolicySource, problems: string[]): RuntimePolicy[] {
  const found: RuntimePolicy[] = [];
  for (const [index, document] of parseAllDocuments(text).entries()) {
    const where = index === 0 ? file : `${file} (document ${index + 1})`;
    const value = readDocument(document, where, problems);
    if (value === null) continue;
    const result = v.safeParse(policySchema, value);
    if (result.success) found.push(toPolicy(result.output));
    else problems.push(...result.issues.map((issue) => `${where}: ${describeIssue(issue)}`));
  }
  return found;
}

function describeIssue(issue: v.BaseIssue<unknown>): string {
  const path = v.getDotPath(issue) ?? "the document";
  // A strict object reports its unknown keys with the expected type "never".
  if (issue.kind === "schema" && issue.expected === "never") return `${path}: no such field`;
  return `${path}: ${issue.received === "undefined" ? "is missing" : issue.message}`;
}

/**
 * All policies of these files, in the order given. All or nothing: one bad field anywhere is an error of kind
 * `invalid` that lists every problem of every file.
 */
export function parsePolicies(sources: readonly PolicySource[]): RuntimePolicy[] {
  const problems: string[] = [];
  const policies = sources.flatMap((source) => readFile(source, problems));
  const seen = new Set<string>();
  for (const { name } of policies) {
    if (seen.has(name)) problems.push(`${name}: two policies have this name`);
    seen.add(name);
  }
  if (problems.length === 0) return policies;
  throw new TrivetError({
    kind: "invalid",
    op: "policy.parse",
    subject: sources.map(({ file }) => file).join(", "),
    message: `the policies cannot be used:\n${problems.map((problem) => `  ${problem}`).join("\n")}`,
  });
}
