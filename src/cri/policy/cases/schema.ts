/** The shape of a RuntimePolicyTest: cases for policies, in files beside them. Knows nothing of what the fields mean together. */
import * as v from "valibot";
import { type Placed, type PolicySource, readDocuments } from "../documents.ts";
import type { PolicyProblem } from "../problem.ts";
import { LIST, MAPPING, mapping, policyApiVersion, TEXT, text } from "../schema.ts";

export const testKind = "RuntimePolicyTest";

const texts = (what: string) => v.array(text(what), LIST);
const labels = v.optional(v.pipe(mapping, v.record(text("a key"), v.string(TEXT), MAPPING)));
const boolean = v.boolean("must be true or false");

const podSchema = v.strictObject(
  {
    namespace: v.optional(text("the namespace"), "default"),
    name: v.optional(text("the name"), "pod-0"),
    uid: v.optional(text("the uid")),
    labels,
    annotations: labels,
    runtimeHandler: v.optional(v.string(TEXT)),
    static: v.optional(boolean),
  },
  MAPPING,
);

export const decisions = ["Allow", "Deny"] as const;
export const actions = ["mutated", "denied", "warned", "audited", "failed", "ignored"] as const;
export const outcomes = ["added", "changed", "removed", "kept"] as const;

const oneOf = <const T extends readonly string[]>(values: T) =>
  v.picklist(values, `must be one of ${values.join(", ")}`);

const expectSchema = v.strictObject(
  {
    decision: v.optional(oneOf(decisions), "Allow"),
    policy: v.optional(text("the policy")),
    message: v.optional(v.string(TEXT)),
    matches: v.optional(texts("a policy")),
    outcomes: v.optional(
      v.array(
        v.strictObject(
          { policy: text("the policy"), action: oneOf(actions), message: v.optional(v.string(TEXT)) },
          MAPPING,
        ),
        LIST,
      ),
    ),
    changes: v.optional(v.pipe(mapping, v.record(text("a field"), oneOf(outcomes), MAPPING))),
    fields: v.optional(mapping),
  },
  MAPPING,
);

const caseSchema = v.strictObject(
  {
    name: text("the name"),
    method: text("the method"),
    pod: v.optional(podSchema, {}),
    container: v.optional(text("the container")),
    image: v.optional(text("the image")),
    listener: v.optional(text("the listener")),
    request: v.optional(mapping),
    expect: expectSchema,
  },
  MAPPING,
);

const testSchema = v.strictObject(
  {
    apiVersion: v.literal(policyApiVersion, `must be ${policyApiVersion}`),
    kind: v.literal(testKind, `must be ${testKind}`),
    metadata: v.optional(v.strictObject({ name: text("the name") }, MAPPING)),
    spec: v.strictObject(
      {
        policies: v.optional(v.pipe(texts("a file"), v.minLength(1, "names no file"))),
        exemptNamespaces: v.optional(texts("a namespace")),
        cases: v.pipe(v.array(caseSchema, LIST), v.minLength(1, "has no case")),
      },
      MAPPING,
    ),
  },
  MAPPING,
);

export type PolicyTest = v.InferOutput<typeof testSchema>;
export type PolicyCase = PolicyTest["spec"]["cases"][number];
export type Expected = PolicyCase["expect"];

/** The fields of a case and of `expect`, for the documentation's test. */
export const caseFields: readonly string[] = Object.keys(caseSchema.entries);
export const expectFields: readonly string[] = Object.keys(expectSchema.entries);

/** The documents that have the right shape; what is wrong with the others is added to the problems. */
export function readTestFile(source: PolicySource, problems: PolicyProblem[]): Placed<PolicyTest>[] {
  return readDocuments(testSchema, source, problems);
}
