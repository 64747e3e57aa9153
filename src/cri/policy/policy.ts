/** A RuntimePolicy as it is applied: everything that can be known before a call is checked and compiled. */
import type { CompiledMutation } from "../wire/mutation.ts";
import type { Expression } from "./cel/expression.ts";
import type { ImagePattern } from "./images/pattern.ts";
import type { ImageRewrite } from "./images/rewrite.ts";
import type { LabelSelector } from "./label-selector.ts";
import type { MutationPlan } from "./mutation-plan.ts";

export type { PolicySource } from "./schema.ts";

export interface RuntimePolicy {
  readonly name: string;
  /** The file that it stands in. */
  readonly file: string;
  readonly selector: PolicySelector;
  /** By method: a policy does nothing to a method that is not here. */
  readonly methods: ReadonlyMap<string, MethodPlan>;
  readonly actions: ReadonlySet<"Deny" | "Warn" | "Audit">;
  /** Changes and denials happen; where false, they are only told. */
  readonly enforced: boolean;
  readonly failurePolicy: "Fail" | "Ignore";
  readonly imageRewrites: readonly ImageRewrite[];
}

/** Which calls a policy is about. What is undefined selects all. */
export interface PolicySelector {
  readonly namespaces: ReadonlySet<string> | undefined;
  readonly podSelector: LabelSelector | undefined;
  readonly containers: ReadonlySet<string> | undefined;
  readonly images: readonly ImagePattern[] | undefined;
  readonly runtimeHandlers: ReadonlySet<string> | undefined;
  readonly includeStaticPods: boolean;
}

export interface NamedExpression {
  readonly name: string;
  readonly expression: Expression;
}

export interface Validation {
  readonly expression: Expression;
  readonly message: string;
  readonly messageExpression: Expression | undefined;
}

/** What a policy does to one method, compiled for the message of its request. */
export interface MethodPlan {
  readonly method: string;
  readonly service: string;
  /** Undefined for a method that our API does not describe. */
  readonly request: string | undefined;
  /** Each sees those before it. */
  readonly variables: readonly NamedExpression[];
  readonly variablesClass: VariablesClass | undefined;
  readonly conditions: readonly NamedExpression[];
  readonly mutations: readonly MutationPlan[];
  readonly validations: readonly Validation[];
}

/** Makes the value of `variables`, whose fields are worked out when they are asked for. */
export type VariablesClass = new (read: (name: string) => unknown) => object;

/** A change that a policy wants to make. */
export interface WantedMutation {
  readonly policy: RuntimePolicy;
  readonly mutation: CompiledMutation;
}
