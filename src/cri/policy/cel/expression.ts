/**
 * Compiles one CEL expression: checks its types, so that a name that does not exist is found when the policy is loaded,
 * and bounds what it can cost. Pure.
 */
import { type Environment, EvaluationError, ParseError, type ParseResult } from "@marcbachmann/cel-js";
import { isKind } from "../../../errors.ts";
import { nearestName } from "../../wire/nearest.ts";
import { CelMessage } from "./cel-message.ts";
import type { Meter } from "./cost.ts";
import { enumProblem } from "./enum-names.ts";
import { fieldNamesOf, type Scope, variableNames } from "./environment.ts";
import { ExpressionFailure } from "./failure.ts";
import { compilePattern } from "./pattern.ts";
import {
  allNodes,
  functionName,
  isNode,
  iterableOf,
  type Macro,
  methodCall,
  type Node,
  ownEvaluate,
  type TypeChecker,
} from "./syntax-tree.ts";

const MAX_LENGTH = 10_000;
// Of a function such as getHours, which may have to know about time zones.
const CALENDAR_STEPS = 500;

/** What an expression may be of, besides `dyn`, whose type is only known when it runs. */
export type ResultType = "bool" | "string" | "any";

export interface Expression {
  readonly source: string;
  /** The type that was found, such as `bool`, `string` or `list<string>`. */
  readonly type: string;
  /** Throws an error whose message holds nothing of the values that the expression saw. */
  evaluate(scope: Scope, meter: Meter): unknown;
}

export interface ExpressionSource {
  readonly source: string;
  readonly environment: Environment;
  readonly result: ResultType;
}

/** An expression that cannot be used is an Error whose message is one line. */
export function compileExpression({ source, environment, result }: ExpressionSource): Expression {
  if (source.trim() === "") throw new Error("is empty");
  if (source.length > MAX_LENGTH) throw new Error(`is longer than ${MAX_LENGTH} characters`);
  const parsed = parse(source, environment);
  const root = parsed.ast as unknown as Node;
  const meter: MeterSlot = { current: undefined };
  for (const node of allNodes(root)) replaceHas(node);
  const checked = parsed.check();
  if (!checked.valid) throw new Error(describeTypeError(checked.error, source));
  const type = checked.type ?? "dyn";
  if (result !== "any" && type !== result && type !== "dyn") {
    throw new Error(`gives ${type}, but ${result} is needed: ${source}`);
  }
  const nodes = allNodes(root);
  for (const node of nodes) {
    const problem = enumProblem(node);
    if (problem !== undefined) throw new Error(`${problem}${place(source, node.start)}: ${source}`);
  }
  for (const node of nodes) countSteps(node, meter);
  for (const node of nodes) payForLoop(node, meter);
  for (const node of nodes) payForSearch(node, meter);
  return {
    source,
    type,
    evaluate(scope, current) {
      meter.current = current;
      try {
        const value: unknown = parsed(scope);
        current.settle();
        if (result !== "any" && typeof value !== (result === "bool" ? "boolean" : "string")) {
          throw new ExpressionFailure(`it gave no ${result}`);
        }
        return value;
      } catch (error) {
        throw describeFailure(error);
      } finally {
        meter.current = undefined;
      }
    },
  };
}

function parse(source: string, environment: Environment): ParseResult {
  try {
    return environment.parse(source);
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    throw new Error(`${error.summary}${place(source, error.range?.start)}: ${source}`);
  }
}

/** Evaluation is synchronous, and an expression never runs within itself: one slot for each is enough. */
interface MeterSlot {
  current: Meter | undefined;
}

/** Makes the node count what it costs. */
function countSteps(node: Node, slot: MeterSlot): void {
  const own = isMatches(node) ? matchesOf(node, slot) : ownEvaluate(node);
  const steps = methodCall(node)?.name.startsWith("get") ? CALENDAR_STEPS : 1;
  node.evaluate = (evaluator, _, context) => {
    slot.current?.charge(steps);
    const value = own(evaluator, node, context);
    slot.current?.chargeValue(value);
    return value;
  };
}

/** A whole loop is paid for before it begins: loops within loops then end before they run, whatever errors they swallow. */
function payForLoop(node: Node, slot: MeterSlot): void {
  const iterable = iterableOf(node);
  if (!iterable) return;
  const { evaluate } = iterable;
  const { step } = node.args as { readonly step?: unknown };
  const stepsEach = isNode(step) ? Math.ceil(allNodes(step).length / 4) : 1;
  iterable.evaluate = (evaluator, own, context) => {
    const value = evaluate(evaluator, own, context);
    slot.current?.charge(1 + sizeOf(value) * stepsEach);
    return value;
  };
}

/** What `payForSearch` multiplies, and how much of it is one step. */
const products: Readonly<Record<string, number>> = {
  contains: 4_096,
  indexOf: 4_096,
  lastIndexOf: 4_096,
  split: 4_096,
  join: 256,
};

/** The search for a long text in a longer one can take their product in time, and a join makes as much text. */
function payForSearch(node: Node, slot: MeterSlot): void {
  const call = methodCall(node);
  const each = call && products[call.name];
  const [argument] = call?.args ?? [];
  if (!call || !argument || each === undefined) return;
  const { evaluate } = node;
  let sizes: number[] = [];
  const measure = (part: Node) => {
    const { evaluate: inner } = part;
    part.evaluate = (evaluator, own, context) => {
      const value = inner(evaluator, own, context);
      sizes.push(typeof value === "string" ? value.length : sizeOf(value));
      const [one = 0, other = 0] = sizes;
      if (sizes.length === 2) slot.current?.charge(Math.floor((one * other) / each));
      return value;
    };
  };
  measure(call.receiver);
  measure(argument);
  node.evaluate = (evaluator, own, context) => {
    sizes = [];
    return evaluate(evaluator, own, context);
  };
}

function sizeOf(value: unknown): number {
  if (Array.isArray(value)) return value.length;
  return value instanceof Map
    ? value.size
    : typeof value === "object" && value
      ? Object.keys(value).length
      : 0;
}

function isMatches(node: Node): boolean {
  const call = methodCall(node);
  return call?.name === "matches" && call.args.length === 1;
}

/** `text.matches("pattern")`, by a matcher that cannot backtrack. */
function matchesOf(node: Node, slot: MeterSlot): Node["evaluate"] {
  const call = methodCall(node);
  const [argument] = call?.args ?? [];
  if (!call || argument?.op !== "value" || typeof argument.args !== "string") {
    throw new Error(
      "matches takes its pattern as text in the expression itself, not as a value that is worked out",
    );
  }
  const pattern = compilePattern(argument.args);
  const { receiver } = call;
  return (evaluator, _, context) => {
    const text = evaluator.run(receiver, context);
    if (typeof text !== "string") throw new ExpressionFailure("matches is for text");
    slot.current?.charge(pattern.costOf(text));
    return pattern.isIn(text);
  };
}

/** `has(a.b)` by protobuf's rule for what is there: the library takes a field that reads as its default for present. */
function replaceHas(node: Node): void {
  const macro = node.meta.macro;
  if (functionName(node) !== "has" || !macro || !Array.isArray(macro.args)) return;
  const [argument] = macro.args as unknown[];
  if (!isNode(argument) || argument.op !== "." || !Array.isArray(argument.args)) return;
  const [holder, name] = argument.args as [Node, string];
  const { evaluate } = macro;
  macro.typeCheck = (checker: TypeChecker, _: Macro, context: unknown) => {
    checker.check(argument, context); // so that a field that does not exist is an error here too
    return checker.getType("bool");
  };
  macro.evaluate = (evaluator, own, context) => {
    const value = evaluator.run(holder, context);
    if (value instanceof CelMessage) return value.has(name);
    if (value instanceof Map) return value.has(name);
    if (typeof value === "object" && value !== null) return Object.hasOwn(value, name) || name in value;
    return evaluate(evaluator, own, context);
  };
}

/** ` at line 2, column 5`, or nothing for the first line of a short expression. */
function place(source: string, offset: number | undefined): string {
  if (offset === undefined) return "";
  const before = source.slice(0, offset).split("\n");
  return ` at line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}`;
}

interface LibraryError {
  readonly code?: string;
  readonly summary?: string;
  readonly message: string;
  readonly node?: unknown;
  readonly range?: { readonly start: number };
}

function describeTypeError(error: LibraryError | undefined, source: string): string {
  const summary = error?.summary ?? error?.message ?? "cannot be used";
  return `${summary}${nearest(error)}${place(source, error?.range?.start)}: ${source}`;
}

/** What was probably meant, where a field or a variable is unknown. */
function nearest(error: LibraryError | undefined): string {
  if (!isNode(error?.node)) return "";
  const { op, args } = error.node;
  if (error.code === "unknown_variable" && typeof args === "string") {
    const near = nearestName(args, variableNames);
    return near === undefined
      ? ` (there are ${variableNames.slice(0, 6).join(", ")})`
      : `, did you mean ${near}?`;
  }
  if (error.code !== "no_such_key" || op !== "." || !Array.isArray(args)) return "";
  const [holder, name] = args as [Node, string];
  const type = holder.checkedType?.name ?? "";
  const fields = fieldNamesOf(type);
  if (!fields) return "";
  const near = nearestName(name, fields);
  return ` in ${type}${near === undefined ? ` (it has ${fields.slice(0, 12).join(", ")})` : `, did you mean ${near}?`}`;
}

// Their texts say what was looked for and where, and hold nothing of the message.
const plainCodes: Readonly<Record<string, string>> = {
  no_such_key: "a key is not there",
  index_out_of_bounds: "a list is shorter than that",
  index_out_of_range: "a text is shorter than that",
  division_by_zero: "a division by zero",
  modulo_by_zero: "a division by zero",
  numeric_overflow: "a number is too large",
  no_such_overload: "values are of kinds that do not go together",
  no_matching_overload: "values are of kinds that do not go together",
};

/** The library's messages quote values, which may be secret: only what kind of failure it was is told. */
function describeFailure(error: unknown): ExpressionFailure {
  if (error instanceof EvaluationError) {
    const { code, range } = error;
    const where = range ? ` (at character ${range.start + 1})` : "";
    return new ExpressionFailure(`${plainCodes[code] ?? code.replaceAll("_", " ")}${where}`);
  }
  if (error instanceof ExpressionFailure) return error;
  return isKind(error, "decode") ? new ExpressionFailure(error.message) : new ExpressionFailure("it failed");
}
