/**
 * What policies would make of a call that is only given, not made: which ones match, why the others do not, and what would
 * change. Pure; for the command line and for tests of policies.
 */
import { TrivetError } from "../../errors.ts";
import type { ContainerFacts, PodFacts } from "../pods/facts.ts";
import { methodOf } from "../wire/descriptors.ts";
import { encodeMessage } from "../wire/value.ts";
import { createPolicyEngine, type PolicyDecision, type PolicyEngineOptions } from "./engine.ts";
import type { RuntimePolicy } from "./policy.ts";
import type { Exemptions } from "./select.ts";

export interface GivenCall {
  /** Such as `CreateContainer`. */
  readonly method: string;
  /** The request on the wire; see `encodeRequest`. */
  readonly message: Uint8Array;
  readonly listener?: string;
  /** The pod of the sandbox id in the request, where it has one: whatever the id. */
  readonly pod?: PodFacts;
  /** The container of the container id in the request, where it has one: whatever the id. */
  readonly container?: ContainerFacts;
}

export interface ExplainedPolicy {
  readonly policy: string;
  readonly file: string;
  readonly matched: boolean;
  /** Why it does not match. */
  readonly reason?: string;
}

export interface Explanation {
  /** Every policy, in the order in which they are asked. */
  readonly policies: readonly ExplainedPolicy[];
  readonly decision: PolicyDecision;
}

/** A request from what people write: fields by their names in the .proto. Throws `invalid` with the path of what is wrong. */
export function encodeRequest(method: string, request: unknown): Uint8Array {
  const described = methodOf(method);
  if (!described) {
    const message = `${method}: the request of this method is not known here`;
    throw new TrivetError({ kind: "invalid", op: "policy.explain", subject: method, message });
  }
  return encodeMessage(described.request, request, method);
}

export function explainCall(
  policies: readonly RuntimePolicy[],
  call: GivenCall,
  options: { readonly exempt?: Exemptions } = {},
): Explanation {
  const { method, message, listener, pod, container } = call;
  const asked = new Map<string, string | undefined>();
  const pods: PolicyEngineOptions["pods"] = {
    sandbox: () => pod ?? container?.pod,
    container: () => container,
    lookup: async () => undefined,
  };
  const engine = createPolicyEngine({
    policies,
    pods,
    ...(options.exempt && { exempt: options.exempt }),
    trace: ({ name }, passedOver) => {
      // One that is asked several times, for what a RestorePod makes, matches if it does once.
      if (!asked.has(name) || passedOver === undefined) asked.set(name, passedOver);
    },
  });
  const decision = engine.decideKnown({ method, message, listener });
  const failed = new Map(decision.outcomes.map(({ policy, message: why }) => [policy, why]));
  return {
    policies: policies.map(({ name, file }): ExplainedPolicy => {
      const matched = asked.has(name) && asked.get(name) === undefined;
      if (matched) return { policy: name, file, matched };
      const reason = asked.get(name) ?? failed.get(name) ?? "the policy is not about this method";
      return { policy: name, file, matched, reason };
    }),
    decision,
  };
}
