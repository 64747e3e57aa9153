/**
 * The shape of a RuntimePolicy file: text in, documents or every problem out. What the fields mean together, and whether
 * paths and expressions are right, `compile.ts` knows. Problems carry the path of the field, so that a file can be mended
 * in one go.
 */
import * as v from "valibot";
import { type Document, parseAllDocuments } from "yaml";
import { mutationOps } from "../wire/mutation.ts";

export const policyApiVersion = "trivet.dev/v1alpha1";

export interface PolicySource {
  /** Shown in errors. */
  readonly file: string;
  readonly text: string;
}

// The library's own messages show what they found, and a value may be secret: every type has a message of ours.
const MAPPING = "must be a mapping";
const LIST = "must be a list";
const TEXT = "must be text";
const MAX_POLICY_NAME = 253;

const text = (what: string) => v.pipe(v.string(TEXT), v.minLength(1, `${what} is empty`));
const texts = (what: string) =>
  v.optional(v.pipe(v.array(text(what), LIST), v.minLength(1, `names no ${what.replace(/^an? /, "")}`)));
const list = <T extends v.GenericSchema>(item: T, empty: string) =>
  v.optional(v.pipe(v.array(item, LIST), v.minLength(1, empty)));

// The library leaves these out of a record without a word.
const droppedKeys = ["__proto__", "prototype", "constructor"];

function hasNoDroppedKey(values: unknown): boolean {
  if (typeof values !== "object" || values === null) return true;
  return droppedKeys.every((key) => !Object.hasOwn(values, key));
}

const mapping = v.pipe(
  v.unknown(),
  v.check((value) => typeof value === "object" && value !== null && !Array.isArray(value), MAPPING),
  v.check(hasNoDroppedKey, `holds a name that cannot be used here: ${droppedKeys.join(", ")}`),
  v.transform((value) => value as Record<string, unknown>),
);

const labelOperators = ["In", "NotIn", "Exists", "DoesNotExist"] as const;

const podSelectorSchema = v.strictObject(
  {
    matchLabels: v.optional(v.pipe(mapping, v.record(text("a label"), v.string(TEXT), MAPPING))),
    matchExpressions: v.optional(
      v.array(
        v.strictObject(
          {
            key: text("the key"),
            operator: v.picklist(labelOperators, `must be one of ${labelOperators.join(", ")}`),
            values: v.optional(v.array(v.string(TEXT), LIST)),
          },
          MAPPING,
        ),
        LIST,
      ),
    ),
  },
  MAPPING,
);

const namedExpression = v.strictObject(
  { name: text("the name"), expression: text("the expression") },
  MAPPING,
);

const validationSchema = v.strictObject(
  {
    expression: text("the expression"),
    message: v.optional(text("the message")),
    messageExpression: v.optional(text("the expression")),
  },
  MAPPING,
);

const mutationSchema = v.strictObject(
  {
    op: v.picklist(mutationOps, `must be one of ${mutationOps.join(", ")}`),
    path: text("the path"),
    value: v.optional(v.unknown()),
    values: v.optional(mapping),
    valueExpression: v.optional(text("the expression")),
    where: v.optional(
      v.union([v.string(), mapping], "must be an expression, or a mapping of fields to values"),
    ),
  },
  MAPPING,
);

const imageRewriteSchema = v.strictObject(
  {
    from: text("the prefix"),
    to: text("the prefix"),
    keepCredentials: v.optional(v.boolean("must be true or false")),
  },
  MAPPING,
);

export const validationActions = ["Deny", "Warn", "Audit"] as const;
export const failurePolicies = ["Fail", "Ignore"] as const;

const specSchema = v.strictObject(
  {
    methods: texts("a method"),
    namespaces: texts("a namespace"),
    podSelector: v.optional(podSelectorSchema),
    containers: texts("a container"),
    images: texts("an image"),
    runtimeHandlers: v.optional(v.pipe(v.array(v.string(TEXT), LIST), v.minLength(1, "names no handler"))),
    includeStaticPods: v.optional(v.boolean("must be true or false")),
    variables: list(namedExpression, "has no variable"),
    matchConditions: list(namedExpression, "has no condition"),
    validations: list(validationSchema, "checks nothing"),
    validationActions: v.optional(
      v.pipe(
        v.array(v.picklist(validationActions, `must be one of ${validationActions.join(", ")}`), LIST),
        v.minLength(1, "names no action"),
      ),
    ),
    mutations: list(mutationSchema, "changes nothing"),
    imageRewrites: list(imageRewriteSchema, "rewrites nothing"),
    failurePolicy: v.optional(v.picklist(failurePolicies, `must be one of ${failurePolicies.join(", ")}`)),
  },
  MAPPING,
);

/** The fields of `spec`, for the documentation's test. */
export const specFields: readonly string[] = Object.keys(specSchema.entries);

const policyObject = v.strictObject(
  {
    apiVersion: v.literal(policyApiVersion, `must be ${policyApiVersion}`),
    kind: v.literal("RuntimePolicy", "must be RuntimePolicy"),
    metadata: v.strictObject(
      {
        name: v.pipe(
          text("the name"),
          v.maxLength(MAX_POLICY_NAME, `is longer than ${MAX_POLICY_NAME} characters`),
          v.regex(/^[^\p{Cc}]*$/u, "holds a control character"),
        ),
        labels: v.optional(mapping),
        annotations: v.optional(mapping),
      },
      MAPPING,
    ),
    spec: specSchema,
  },
  MAPPING,
);

// To the library a list is a mapping with numbers for names.
const policySchema = v.pipe(
  v.unknown(),
  v.check((value) => !Array.isArray(value), MAPPING),
  policyObject,
);

export type PolicyDocument = v.InferOutput<typeof policySchema>;
export type PolicySpec = PolicyDocument["spec"];
export type MutationDocument = NonNullable<PolicySpec["mutations"]>[number];

/** Where a document stands, for problems: `10-a.yaml`, `10-a.yaml (document 2)`. */
export interface PlacedDocument {
  readonly where: string;
  readonly document: PolicyDocument;
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

function describeIssue(issue: v.BaseIssue<unknown>): string {
  const path = v.getDotPath(issue) ?? "the document";
  // A strict object reports its unknown keys with the expected type "never".
  if (issue.kind === "schema" && issue.expected === "never") return `${path}: no such field`;
  return `${path}: ${issue.received === "undefined" ? "is missing" : issue.message}`;
}

/** The documents of a file that have the right shape; what is wrong with the others is added to the problems. */
export function readPolicyFile({ file, text: content }: PolicySource, problems: string[]): PlacedDocument[] {
  const found: PlacedDocument[] = [];
  for (const [index, document] of parseAllDocuments(content).entries()) {
    const where = index === 0 ? file : `${file} (document ${index + 1})`;
    const value = readDocument(document, where, problems);
    if (value === null) continue;
    const result = v.safeParse(policySchema, value);
    if (result.success) found.push({ where, document: result.output });
    else problems.push(...result.issues.map((issue) => `${where}: ${describeIssue(issue)}`));
  }
  return found;
}
