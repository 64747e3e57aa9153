/**
 * The shape of a RuntimePolicy file: text in, documents or every problem out. What the fields mean together, and whether
 * paths and expressions are right, `compile.ts` knows. Problems carry the path of the field, so that a file can be mended
 * in one go.
 */
import * as v from "valibot";
import { mutationOps } from "../wire/mutation.ts";
import { type Placed, type PolicySource, readDocuments } from "./documents.ts";
import type { PolicyProblem } from "./problem.ts";

export type { PolicySource } from "./documents.ts";

export const policyApiVersion = "trivet.dev/v1alpha1";

// The library's own messages show what they found, and a value may be secret: every type has a message of ours.
export const MAPPING = "must be a mapping";
export const LIST = "must be a list";
export const TEXT = "must be text";
const MAX_POLICY_NAME = 253;

/** Text that is not empty. */
export const text = (what: string) => v.pipe(v.string(TEXT), v.minLength(1, `${what} is empty`));
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

/** Any mapping, its values as they are. */
export const mapping = v.pipe(
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

export type PlacedDocument = Placed<PolicyDocument>;

/** The documents of a file that have the right shape; what is wrong with the others is added to the problems. */
export function readPolicyFile(source: PolicySource, problems: PolicyProblem[]): PlacedDocument[] {
  return readDocuments(policySchema, source, problems);
}
