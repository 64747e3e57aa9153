/**
 * What policies make of one call: first changes, in the order of the policies, each on what those before it left; then
 * checks, on the message as it would go to the runtime. Pure: the same policies and facts give the same decision.
 */
import { isKind } from "../../errors.ts";
import type { PolicyChange, PolicyOutcome } from "../record/call-record.ts";
import { applyMutations, type CompiledMutation } from "../wire/mutation.ts";
import { celMessage } from "./cel/cel-message.ts";
import { Meter } from "./cel/cost.ts";
import { CelContainer, CelImage, CelPod, CelRequest, type Scope } from "./cel/environment.ts";
import { ExpressionFailure } from "./cel/failure.ts";
import type { CallFacts, FactsOfPod } from "./facts.ts";
import { planRewrites } from "./image-places.ts";
import type { MadeMutation, MutationScope } from "./mutation-plan.ts";
import type { MethodPlan, RuntimePolicy, Validation, WantedMutation } from "./policy.ts";
import { type Exemptions, whyNotSelected } from "./select.ts";

export interface DecidedCall {
  readonly method: string;
  readonly service: string;
  /** The name of the request's message; undefined for a method that our API does not describe. */
  readonly request: string | undefined;
  readonly message: Uint8Array;
  readonly listener: string | undefined;
  readonly facts: CallFacts;
  /** For CreateContainer: what was done to its sandbox, and must be done to the copy. */
  readonly copied: readonly WantedMutation[];
}

export interface DecideOptions {
  readonly exempt: Exemptions;
  /** The message cannot be changed: a policy that would is treated as one that failed. */
  readonly fixed?: boolean;
  /** Told of each policy that has something to say about the method: why it was passed over, or undefined. */
  readonly trace?: (policy: RuntimePolicy, passedOver: string | undefined) => void;
}

export interface Decision {
  /** The changed request; undefined if it stays as it is. */
  readonly message: Uint8Array | undefined;
  readonly denied: { readonly policy: string; readonly message: string } | undefined;
  readonly outcomes: readonly PolicyOutcome[];
  readonly changes: readonly PolicyChange[];
  /** For RunPodSandbox: what must be done to the copies. */
  readonly copies: readonly WantedMutation[];
}

/** Nobody needs a larger request to start a container: the kernel takes no arguments beyond two megabytes. */
export const MAX_POLICY_MESSAGE = 4 << 20;
const MAX_TEXT = 1_000;

/** Stops the evaluation: the call is refused. */
class Denied extends Error {}

export function decide(
  policies: readonly RuntimePolicy[],
  call: DecidedCall,
  options: DecideOptions,
): Decision {
  return new Evaluation(call, options).run(policies);
}

interface Matched {
  readonly policy: RuntimePolicy;
  readonly plan: MethodPlan;
}

const noPod: FactsOfPod = {
  namespace: "",
  name: "",
  uid: "",
  labels: new Map(),
  annotations: new Map(),
  runtimeHandler: "",
  isStatic: false,
};

class Evaluation {
  readonly #call: DecidedCall;
  readonly #options: DecideOptions;
  readonly #meter = new Meter();
  readonly #outcomes: PolicyOutcome[] = [];
  readonly #changes: PolicyChange[] = [];
  readonly #copies: WantedMutation[] = [];
  #message: Uint8Array;
  #denied: Decision["denied"];
  #values: Omit<Scope, "object" | "variables"> | undefined;

  constructor(call: DecidedCall, options: DecideOptions) {
    this.#call = call;
    this.#options = options;
    this.#message = call.message;
  }

  run(policies: readonly RuntimePolicy[]): Decision {
    try {
      this.#rewriteImages(policies);
      this.#applyCopies();
      const matched = policies.flatMap((policy) => this.#mutate(policy) ?? []);
      for (const one of matched) this.#validate(one);
    } catch (error) {
      if (!(error instanceof Denied)) throw error;
    }
    const changed = this.#message !== this.#call.message && !this.#denied;
    return {
      message: changed ? this.#message : undefined,
      denied: this.#denied,
      outcomes: this.#outcomes,
      changes: this.#changes,
      copies: this.#copies,
    };
  }

  /** Runs a part of one policy; what fails in it is the business of its failurePolicy. */
  #guarded<T>(policy: RuntimePolicy, part: () => T): T | undefined {
    this.#meter.reset();
    try {
      return part();
    } catch (error) {
      if (error instanceof Denied) throw error;
      this.#fail(policy, failureText(error));
      return undefined;
    }
  }

  /** Before all that reads or changes more than whom the call is about. */
  #checkSize(): void {
    if (this.#call.message.length <= MAX_POLICY_MESSAGE) return;
    throw new ExpressionFailure(`the request is larger than ${MAX_POLICY_MESSAGE} bytes`);
  }

  #fail(policy: RuntimePolicy, why: string): void {
    const message = `it could not be evaluated: ${why}`;
    if (policy.failurePolicy === "Fail" && policy.enforced) {
      this.#outcomes.push({ policy: policy.name, action: "failed", message });
      this.#deny(policy, message);
    }
    this.#outcomes.push({ policy: policy.name, action: "ignored", message });
  }

  #deny({ name }: RuntimePolicy, message: string): never {
    this.#denied = { policy: name, message };
    throw new Denied();
  }

  /** Images have one name in all calls, whoever makes them: no pod is exempt. The first rewrite that fits is the one. */
  #rewriteImages(policies: readonly RuntimePolicy[]): void {
    const { method, request } = this.#call;
    const owners = policies.filter(({ imageRewrites }) => imageRewrites.length > 0);
    if (owners.length === 0 || request === undefined) return;
    const enforced = owners.filter((policy) => policy.enforced);
    const rewrites = enforced.flatMap(({ imageRewrites }) => imageRewrites);
    for (const owner of owners) {
      this.#guarded(owner, () => {
        this.#checkSize();
        // One that only tells is asked by itself, on the names as they came.
        const asked = owner.enforced ? rewrites : owner.imageRewrites;
        const planned = planRewrites({ method, request, message: this.#call.message }, asked);
        const own = planned.filter(({ rewrite }) => owner.imageRewrites.includes(rewrite));
        this.#options.trace?.(owner, own.length === 0 ? "no image has this prefix" : undefined);
        this.#apply(
          owner,
          own.flatMap(({ mutations }) => mutations),
        );
      });
    }
  }

  #applyCopies(): void {
    for (const { policy, mutation } of this.#call.copied) {
      this.#guarded(policy, () => {
        this.#checkSize();
        this.#apply(policy, [mutation]);
      });
    }
  }

  /** What matched is given back, to be checked in the end. */
  #mutate(policy: RuntimePolicy): Matched | undefined {
    const plan = policy.methods.get(this.#call.method);
    if (!plan) return undefined;
    return this.#guarded(policy, () => {
      const passedOver = this.#passedOver(policy, plan);
      this.#options.trace?.(policy, passedOver);
      if (passedOver !== undefined) return undefined;
      const made = this.#make(plan);
      this.#apply(
        policy,
        made.map(({ mutation }) => mutation),
      );
      if (policy.enforced) {
        this.#copies.push(...made.flatMap(({ copied }) => (copied ? [{ policy, mutation: copied }] : [])));
      }
      return { policy, plan };
    });
  }

  /** The mutations of one call. Nothing is read for those that are the same for all. */
  #make({ mutations, ...plan }: MethodPlan): MadeMutation[] {
    let given: MutationScope | undefined;
    return mutations.map((mutation) => {
      if (mutation.made) return mutation.made;
      given ??= { scope: this.#scope({ ...plan, mutations }, false), meter: this.#meter };
      return mutation.make(given);
    });
  }

  #passedOver(policy: RuntimePolicy, plan: MethodPlan): string | undefined {
    const reason = whyNotSelected(policy.selector, this.#call.facts, this.#options.exempt);
    if (reason !== undefined) return reason;
    this.#checkSize();
    if (plan.conditions.length === 0) return undefined;
    const scope = this.#scope(plan, false);
    // As in Kubernetes: one condition that is not met settles it, whatever becomes of the others.
    let failure: unknown;
    for (const { name, expression } of plan.conditions) {
      try {
        const met = this.#named(`matchConditions[${name}]`, () => expression.evaluate(scope, this.#meter));
        if (met !== true) return `the condition ${name} is not met`;
      } catch (error) {
        failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
    return undefined;
  }

  #named<T>(what: string, part: () => T): T {
    try {
      return part();
    } catch (error) {
      if (error instanceof ExpressionFailure) throw new ExpressionFailure(`${what}: ${error.message}`);
      throw error;
    }
  }

  /** Makes the changes, or tells which ones there would have been. */
  #apply(policy: RuntimePolicy, mutations: readonly CompiledMutation[]): void {
    if (mutations.length === 0) return;
    const { message, changes } = applyMutations(this.#message, mutations);
    if (policy.enforced && this.#options.fixed && message) {
      throw new ExpressionFailure("it changes the request, which cannot be changed for this method");
    }
    const dryRun = !policy.enforced;
    this.#changes.push(
      ...changes.map((change) => ({ ...change, policy: policy.name, ...(dryRun && { dryRun }) })),
    );
    if (!dryRun) {
      if (!message) return;
      this.#message = message;
      const told = this.#outcomes.some((one) => one.policy === policy.name && one.action === "mutated");
      if (!told) this.#outcomes.push({ policy: policy.name, action: "mutated" });
    } else if (message) {
      const fields = changes.filter(({ outcome }) => outcome !== "kept").map(({ field }) => field);
      this.#tell(policy, `would change ${fields.join(", ")}`);
    }
  }

  #tell(policy: RuntimePolicy, text: string): void {
    const message = cut(text);
    if (policy.actions.has("Warn")) this.#outcomes.push({ policy: policy.name, action: "warned", message });
    if (policy.actions.has("Audit")) this.#outcomes.push({ policy: policy.name, action: "audited", message });
  }

  #validate({ policy, plan }: Matched): void {
    if (plan.validations.length === 0) return;
    this.#guarded(policy, () => {
      const scope = this.#scope(plan, false);
      for (const [index, validation] of plan.validations.entries()) {
        const { expression } = validation;
        const holds = this.#named(`validations[${index}]`, () => expression.evaluate(scope, this.#meter));
        if (holds === true) continue;
        const message = cut(this.#textOf(validation, plan));
        this.#tell(policy, message);
        if (!policy.enforced) continue;
        this.#outcomes.push({ policy: policy.name, action: "denied", message });
        this.#deny(policy, message);
      }
    });
  }

  /** A text that cannot be worked out is no reason to let the call through: then it is the one that is written down. */
  #textOf({ message, messageExpression }: Validation, plan: MethodPlan): string {
    if (!messageExpression) return message;
    try {
      // Whoever made the call reads it: what must not be shown is not seen by this expression.
      const text = messageExpression.evaluate(this.#scope(plan, true), this.#meter);
      return typeof text === "string" && text.trim() !== "" ? text : message;
    } catch (error) {
      if (error instanceof ExpressionFailure) return message;
      throw error;
    }
  }

  #scope(plan: MethodPlan, redact: boolean): Scope {
    const { request } = this.#call;
    const reading = { meter: this.#meter, redact };
    const object = request === undefined ? undefined : celMessage(request, this.#message, reading);
    const scope: Scope = { ...this.#known(), ...(object && { object }) };
    const { variables, variablesClass } = plan;
    if (!variablesClass) return scope;
    const values = new Map<string, unknown>();
    const read = (name: string): unknown => {
      const variable = variables.find((one) => one.name === name);
      if (!values.has(name)) values.set(name, variable?.expression.evaluate(whole, this.#meter));
      return values.get(name);
    };
    const whole: Scope = { ...scope, variables: new variablesClass(read) };
    return whole;
  }

  #known(): Omit<Scope, "object" | "variables"> {
    const { facts, method, service, listener } = this.#call;
    this.#values ??= {
      request: new CelRequest(method, service, listener ?? ""),
      pod: new CelPod(facts.pod() ?? noPod),
      container: new CelContainer(() => facts.container() ?? ""),
      image: new CelImage(() => facts.image() ?? ""),
    };
    return this.#values;
  }
}

/** Nothing of the message is in it: decoding errors tell offsets, expressions tell kinds of failures. */
function failureText(error: unknown): string {
  if (error instanceof ExpressionFailure || isKind(error, "decode", "invalid")) return error.message;
  return "an error of the proxy's own";
}

/** One line, of a bounded length. */
function cut(message: string): string {
  const text = message
    .slice(0, 4 * MAX_TEXT)
    .replaceAll(/[\s\p{Cc}]+/gu, " ")
    .trim();
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text;
}
