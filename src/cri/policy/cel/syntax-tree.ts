/**
 * The expression library's syntax tree, as far as we reach into it: to count what an evaluation costs, to put regular
 * expressions that cannot backtrack in the place of the built-in ones, and to let `has` tell an absent field from an
 * empty one. None of this is in the library's types; `expression.test.ts` fails where another version differs.
 */

/** What evaluates nodes: the library passes it through. */
export interface Evaluator {
  run(node: Node, context: unknown): unknown;
}

export interface TypeChecker {
  check(node: Node, context: unknown): CheckedType;
  getType(name: string): CheckedType;
  createError(code: string, message: string, node: Node): Error;
}

export interface CheckedType {
  readonly name: string;
  readonly kind: string;
}

type Evaluate = (evaluator: Evaluator, node: Node, context: unknown) => unknown;

export interface Macro {
  args?: unknown;
  evaluate(evaluator: Evaluator, macro: Macro, context: unknown): unknown;
  typeCheck(checker: TypeChecker, macro: Macro, context: unknown): CheckedType;
}

export interface Node {
  readonly op: string;
  readonly args: unknown;
  readonly start: number;
  readonly checkedType?: CheckedType;
  readonly meta: { readonly alternate?: Node; readonly macro?: Macro; readonly evaluate: Evaluate };
  evaluate: Evaluate;
}

export function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "op" in value && "meta" in value;
}

/** Name, receiver and arguments of a call such as `text.matches("a+")`. */
export function methodCall(
  node: Node,
): { readonly name: string; readonly receiver: Node; readonly args: readonly Node[] } | undefined {
  if (node.op !== "rcall" || !Array.isArray(node.args)) return undefined;
  const [name, receiver, args] = node.args as [string, Node, Node[]];
  return { name, receiver, args };
}

/** The name of a function that is called, such as `has`. */
export function functionName(node: Node): string | undefined {
  return node.op === "call" && Array.isArray(node.args) ? String(node.args[0]) : undefined;
}

/** What a comprehension such as `list.exists(item, …)` goes through. */
export function iterableOf(node: Node): Node | undefined {
  if (node.op !== "comprehension") return undefined;
  const { iterable } = node.args as { readonly iterable?: unknown };
  return isNode(iterable) ? iterable : undefined;
}

/** What the node does when it is evaluated, past the shortcuts that the library puts on it. */
export function ownEvaluate(node: Node): Evaluate {
  const { alternate, macro, evaluate } = node.meta;
  if (alternate) return (evaluator, _, context) => alternate.evaluate(evaluator, alternate, context);
  if (macro) return (evaluator, _, context) => macro.evaluate(evaluator, macro, context);
  return evaluate;
}

/** Every node below and including `root`, those of expanded macros too, each once. */
export function allNodes(root: Node): Node[] {
  const found = new Set<Node>();
  const visited = new Set<object>();
  const waiting: unknown[] = [root];
  while (waiting.length > 0) {
    const value = waiting.pop();
    if (typeof value !== "object" || value === null || visited.has(value)) continue;
    visited.add(value);
    if (isNode(value)) {
      found.add(value);
      waiting.push(value.args, value.meta.alternate, value.meta.macro);
    } else if (Array.isArray(value)) waiting.push(...value);
    else if (Object.getPrototypeOf(value) === Object.prototype) waiting.push(...Object.values(value));
  }
  return [...found];
}
