/**
 * One mutation of a policy for one method: checked when it is loaded, and made whole for each call where its value or its
 * choice of elements is worked out by an expression.
 */

import type { Environment } from "@marcbachmann/cel-js";
import type { Field } from "../wire/descriptors.ts";
import { resolvePath } from "../wire/field-path.ts";
import {
  type CompiledMutation,
  compileMutation,
  type ItemPredicate,
  laterValue,
  type MutationSpec,
  withValue,
} from "../wire/mutation.ts";
import { asBuffer, readMessage } from "../wire/read.ts";
import { isPackable, scalarValue } from "../wire/scalar.ts";
import { CelMessage, celMessage, toCel } from "./cel/cel-message.ts";
import type { Meter } from "./cel/cost.ts";
import { type Scope, withItem } from "./cel/environment.ts";
import { compileExpression, type Expression } from "./cel/expression.ts";
import { guardProblem } from "./guard.ts";
import { mappingPredicate } from "./item-mapping.ts";
import type { MutationDocument } from "./schema.ts";

/** What the expressions of a mutation are worked out with. */
export interface MutationScope {
  readonly scope: Scope;
  readonly meter: Meter;
}

export interface MutationPlan {
  /** The same for every call; undefined where an expression has a say in it. */
  readonly made: MadeMutation | undefined;
  /** For one call. */
  make(scope: MutationScope): MadeMutation;
}

export interface MadeMutation {
  readonly mutation: CompiledMutation;
  /** The same for the copy of the sandbox's configuration that CreateContainer carries; undefined where it has none. */
  readonly copied: CompiledMutation | undefined;
}

export interface MutationContext {
  readonly method: string;
  /** The name of the request's message. */
  readonly request: string;
  readonly environment: Environment;
}

const COPY = { request: "CreateContainerRequest", from: "config.", to: "sandbox_config." };

/** Throws an Error whose message begins with the field that is wrong. */
export function planMutation(document: MutationDocument, context: MutationContext): MutationPlan {
  checkGivenOnce(document);
  const { op, path, values, valueExpression } = document;
  const resolved = resolvePath(context.request, path);
  const problem = guardProblem({ op, path: resolved, values });
  if (problem) throw new Error(`path: ${path}: ${problem}`);
  const value =
    valueExpression === undefined
      ? undefined
      : planValue(
          valueExpression,
          resolved.last.field,
          context,
          resolved.last.selector !== undefined || op === "add",
        );
  const where = planWhere(document, resolved.last.field, context);
  const spec = specOf(document, value !== undefined);
  const copySpec =
    context.method === "RunPodSandbox" && path.startsWith(COPY.from)
      ? { ...spec, path: `${COPY.to}${path.slice(COPY.from.length)}` }
      : undefined;
  const build = (
    scope: MutationScope | undefined,
    given: MutationSpec,
    request: string,
  ): CompiledMutation => {
    const whole = where && { where: where(scope) };
    return compileMutation(request, { ...given, ...whole });
  };
  const own = build(undefined, spec, context.request); // tells now what is wrong
  const copy = copySpec && build(undefined, copySpec, COPY.request);
  if (!value && !where) {
    const made = { mutation: own, copied: copy };
    return { made, make: () => made };
  }
  return {
    made: undefined,
    make(scope) {
      const given = value && { value: plainValue(value.evaluate(scope.scope, scope.meter)) };
      const finish = (from: MutationSpec, request: string, ready: CompiledMutation) => {
        const mutation = where ? build(scope, from, request) : ready;
        return given ? withValue(mutation, given.value) : mutation;
      };
      return {
        mutation: finish(spec, context.request, own),
        copied: copySpec && copy && finish(copySpec, COPY.request, copy),
      };
    },
  };
}

function checkGivenOnce({ op, value, values, valueExpression, where }: MutationDocument): void {
  const given = [value, values, valueExpression].filter((one) => one !== undefined && one !== null).length;
  if (op === "remove" || op === "removeWhere") {
    if (given > 0) throw new Error(`value: ${op} takes none`);
  } else if (given !== 1) {
    throw new Error(`value: ${op} takes one of value, values and valueExpression`);
  }
  const needsWhere = op === "removeWhere" || op === "replaceWhere";
  if (needsWhere !== (where !== undefined)) {
    throw new Error(needsWhere ? `where: is missing: which elements are meant?` : `where: ${op} takes none`);
  }
}

function specOf({ op, path, value, values }: MutationDocument, later: boolean): MutationSpec {
  return {
    op,
    path,
    ...(later && { value: laterValue }),
    ...(value !== undefined && value !== null && { value }),
    ...(values !== undefined && { values }),
  };
}

/** The types of expressions that a scalar field takes. */
const wantedTypes: Readonly<Record<Field["kind"], readonly string[] | undefined>> = {
  string: ["string"],
  bytes: ["string"],
  enum: ["string", "int"],
  bool: ["bool"],
  int32: ["int"],
  int64: ["int"],
  uint32: ["int"],
  uint64: ["int"],
  double: ["double", "int"],
  message: undefined,
};

function planValue(
  source: string,
  field: Field | undefined,
  { environment }: MutationContext,
  single: boolean,
): Expression {
  let expression: Expression;
  try {
    expression = compileExpression({ source, environment, result: "any" });
  } catch (error) {
    throw new Error(`valueExpression: ${error instanceof Error ? error.message : String(error)}`);
  }
  const { type } = expression;
  const wanted = field && wantedTypes[field.kind];
  const isList = type.startsWith("list");
  if (!field || !wanted || type === "dyn" || (field.repeated && isList)) return expression;
  if ((field.repeated || field.map) && !single) {
    if (field.map && type.startsWith("map")) return expression;
    throw new Error(
      `valueExpression: gives ${type}, but ${field.name} is a ${field.map ? "map" : "list"}: ${source}`,
    );
  }
  if (!wanted.includes(type)) {
    throw new Error(
      `valueExpression: gives ${type}, but ${field.name} takes ${wanted.join(" or ")}: ${source}`,
    );
  }
  return expression;
}

/** What an expression gave, as values that the wire's encoder takes. */
function plainValue(value: unknown): unknown {
  if (value instanceof CelMessage) return readMessage(value.typeName, value.bytes, { redact: false });
  if (Array.isArray(value)) return value.map(plainValue);
  if (value instanceof Map) return new Map([...value].map(([key, inner]) => [key, plainValue(inner)]));
  return value;
}

/** Gives the predicate of a call; without a scope one that is never asked, for checking the rest. */
type WherePlan = (scope: MutationScope | undefined) => ItemPredicate;

function planWhere(
  { where, path }: MutationDocument,
  field: Field | undefined,
  { environment }: MutationContext,
): WherePlan | undefined {
  if (where === undefined) return undefined;
  if (!field?.repeated) throw new Error(`where: ${path} is no list that we know`);
  if (typeof where !== "string") {
    const predicate = mappingPredicate(where, field);
    return () => predicate;
  }
  let expression: Expression;
  try {
    expression = compileExpression({
      source: where,
      environment: withItem(environment, field),
      result: "bool",
    });
  } catch (error) {
    throw new Error(`where: ${error instanceof Error ? error.message : String(error)}`);
  }
  return (given) => (item) => {
    if (!given) return false;
    const { scope, meter } = given;
    return expression.evaluate({ ...scope, item: itemValue(field, item, meter) }, meter) === true;
  };
}

/** An element as an expression sees it. */
function itemValue(field: Field, item: Uint8Array, meter: Meter): unknown {
  if (field.kind === "message") return celMessage(field.message ?? "", item, { meter, redact: false });
  const bytes = asBuffer(item);
  if (!isPackable(field)) return bytes.toString("utf8");
  return toCel(field, scalarValue(field, bytes, 0, bytes.length));
}
