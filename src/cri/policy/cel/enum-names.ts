/**
 * Names of enums are texts to an expression, so that the type checker takes any: a misspelt one would never be equal, and a
 * refusal that depends on it would never happen. Looked at when a policy is loaded.
 */
import { enumType, messageType } from "../../wire/descriptors.ts";
import { nearestName } from "../../wire/nearest.ts";
import { isNode, type Node } from "./syntax-tree.ts";

const comparisons: ReadonlySet<string> = new Set(["==", "!=", "in"]);

/** The enum of a field such as `options.network`; undefined for all else. */
function enumOf({ op, args }: Node): string | undefined {
  if (op !== "." || !Array.isArray(args)) return undefined;
  const [holder, name] = args as [Node, string];
  try {
    return messageType(holder.checkedType?.name ?? "").byName.get(name)?.enumName;
  } catch {
    return undefined; // no message of ours
  }
}

/** The texts that stand in the expression itself: one, or those of a list. */
function textsOf({ op, args }: Node): string[] {
  if (op === "value" && typeof args === "string") return [args];
  return op === "list" && Array.isArray(args) ? args.filter(isNode).flatMap(textsOf) : [];
}

/** What is wrong with the comparison of a field with names that its enum does not have; undefined where nothing is. */
export function enumProblem(node: Node): string | undefined {
  if (!comparisons.has(node.op) || !Array.isArray(node.args)) return undefined;
  const [left, right] = node.args as unknown[];
  if (!isNode(left) || !isNode(right)) return undefined;
  for (const [field, other] of [
    [left, right],
    [right, left],
  ] as const) {
    const name = enumOf(field);
    if (name === undefined) continue;
    const { numberOf } = enumType(name);
    // One that we know no name of reads as its number.
    const wrong = textsOf(other).find((text) => !numberOf.has(text) && !/^-?\d+$/.test(text));
    if (wrong === undefined) continue;
    const near = nearestName(wrong, numberOf.keys());
    const hint =
      near === undefined ? ` (it has ${[...numberOf.keys()].join(", ")})` : `, did you mean ${near}?`;
    return `${JSON.stringify(wrong)} is no name of ${name}${hint}`;
  }
  return undefined;
}
