/**
 * The policies in force, and what they make of each call. Knows which calls must be held for them, finds out who the ids in
 * requests are, and remembers what was done to each sandbox, so that its containers' copies say the same.
 */
import type { PodIndex } from "../pods/pod-index.ts";
import type { PolicyChange, PolicyOutcome } from "../record/call-record.ts";
import { methodOf } from "../wire/descriptors.ts";
import { bytesField } from "../wire/encode.ts";
import { MessageReader } from "../wire/fields.ts";
import { imageMethods } from "./compile.ts";
import { type DecideOptions, type Decision, decide } from "./decide.ts";
import { type FoundById, factsOf, idIn, sandboxKey } from "./facts.ts";
import { namedBy } from "./named-by.ts";
import type { RuntimePolicy, WantedMutation } from "./policy.ts";
import { restoredCalls } from "./restore.ts";
import { defaultExemptions, type Exemptions } from "./select.ts";

export interface PolicyCall {
  /** By its name, such as `CreateContainer`. */
  readonly method: string;
  readonly message: Uint8Array;
  readonly listener?: string | undefined;
}

/** What is to become of a call, and what is told about it. */
export interface PolicyDecision {
  readonly message: Uint8Array | undefined;
  readonly denied: { readonly policy: string; readonly message: string } | undefined;
  readonly outcomes: readonly PolicyOutcome[];
  readonly changes: readonly PolicyChange[];
}

export interface PolicyEngine {
  /** Whether calls of this method must be held: some policy may have something to say about them. */
  holds(method: string): boolean;
  /** A promise only where the runtime must be asked who an id is. Never rejects. */
  decide(call: PolicyCall): PolicyDecision | Promise<PolicyDecision>;
  /** The same by what is known without asking. */
  decideKnown(call: PolicyCall): PolicyDecision;
  /** From now on these are in force. Calls that wait for the runtime's answer are decided by the new ones. */
  replace(policies: readonly RuntimePolicy[]): void;
  readonly policies: readonly RuntimePolicy[];
}

export interface PolicyEngineOptions {
  readonly policies: readonly RuntimePolicy[];
  /** Who the ids are. Without it, an id is nobody. */
  readonly pods?: Pick<PodIndex, "sandbox" | "container" | "lookup">;
  readonly exempt?: Exemptions;
  /** Told of each policy that is asked about a call: why it was passed over, or undefined. */
  readonly trace?: DecideOptions["trace"];
}

/** Sandboxes whose changes are remembered; what is beyond is worked out anew. */
const MAX_SANDBOXES = 5_000;

interface Pinned {
  readonly copies: readonly WantedMutation[];
  readonly runtimeHandler: string;
}

const creating = ["RunPodSandbox", "CreateContainer"];

/** Whether a policy changes sandboxes, so that copies of their configuration must follow. */
function changesSandboxes({ methods }: RuntimePolicy): boolean {
  return (methods.get("RunPodSandbox")?.mutations.length ?? 0) > 0;
}

/** Whether a policy has something to say about calls of the method. */
function concerns(policy: RuntimePolicy, method: string): boolean {
  if (policy.methods.has(method)) return true;
  if (policy.imageRewrites.length > 0 && imageMethods.some((name) => name === method)) return true;
  if (method === "RestorePod") return creating.some((name) => policy.methods.has(name));
  return method === "CreateContainer" && changesSandboxes(policy);
}

export function createPolicyEngine(options: PolicyEngineOptions): PolicyEngine {
  return new Engine(options);
}

class Engine implements PolicyEngine {
  readonly #pods: PolicyEngineOptions["pods"];
  readonly #options: DecideOptions;
  /** In the order of use, the latest last. */
  readonly #pinned = new Map<string, Pinned>();
  #policies: readonly RuntimePolicy[];
  #byMethod = new Map<string, readonly RuntimePolicy[]>();

  constructor({ policies, pods, exempt = defaultExemptions, trace }: PolicyEngineOptions) {
    this.#policies = policies;
    this.#pods = pods;
    this.#options = { exempt, ...(trace && { trace }) };
  }

  get policies(): readonly RuntimePolicy[] {
    return this.#policies;
  }

  replace(policies: readonly RuntimePolicy[]): void {
    this.#policies = policies;
    this.#byMethod = new Map();
  }

  #concerned(method: string): readonly RuntimePolicy[] {
    const known = this.#byMethod.get(method);
    if (known) return known;
    const found = this.#policies.filter((policy) => concerns(policy, method));
    // Anyone at the socket can make names up.
    if (methodOf(method)) this.#byMethod.set(method, found);
    return found;
  }

  holds(method: string): boolean {
    // What is done to a sandbox is remembered even if that is nothing: its containers may come when policies are others.
    return this.#concerned(method).length > 0 || this.#remembers(method);
  }

  #remembers(method: string): boolean {
    return method === "RunPodSandbox" || (method === "CreateContainer" && this.#pinned.size > 0);
  }

  decide(call: PolicyCall): PolicyDecision | Promise<PolicyDecision> {
    const { method, message } = call;
    const id = this.#unknownId(call);
    if (!id) return this.#decided(call, undefined);
    if ("found" in id) return this.#decided(call, id.found);
    const lookup = async (): Promise<FoundById> => {
      try {
        return await this.#lookup(id.kind, id.id);
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        return { kind: "unknown", why: `the runtime could not be asked who the ${id.kind} is: ${why}` };
      }
    };
    return lookup().then((found) => this.#decided({ ...call, method, message }, found));
  }

  decideKnown(call: PolicyCall): PolicyDecision {
    const id = this.#unknownId(call);
    return this.#decided(call, id && "found" in id ? id.found : undefined);
  }

  async #lookup(kind: "sandbox" | "container", id: string): Promise<FoundById> {
    const unknown: FoundById = {
      kind: "unknown",
      why: `the runtime knows no ${kind} with the id that it names`,
    };
    if (!this.#pods || id === "") return unknown;
    if (kind === "sandbox") {
      const pod = await this.#pods.lookup(kind, id);
      return pod ? { kind, pod } : unknown;
    }
    const container = await this.#pods.lookup(kind, id);
    return container ? { kind, container } : unknown;
  }

  /** What the id in the request is, if somebody wants to know: as known by now, or as the id that must be asked for. */
  #unknownId({
    method,
    message,
    listener,
  }: PolicyCall): { found: FoundById } | { kind: "sandbox" | "container"; id: string } | undefined {
    const by = namedBy(method);
    if (!by?.id || this.#concerned(method).length === 0) return undefined;
    try {
      const id = idIn(method, message);
      if (!id) return undefined;
      const known = this.#known(id.kind, id.id);
      if (known) return { found: known };
      // A request of the kubelet that says itself who its pod is leaves only the runtime handler to be known.
      const trusted = by.config !== undefined && listener === undefined;
      if (trusted && (!this.#wantsHandler(method) || this.#pinnedFor({ method, message, listener })))
        return undefined;
      return id;
    } catch {
      return undefined; // cannot be read: every policy finds that out by itself
    }
  }

  #known(kind: "sandbox" | "container", id: string): FoundById | undefined {
    if (kind === "sandbox") {
      const pod = this.#pods?.sandbox(id);
      return pod && { kind, pod };
    }
    const container = this.#pods?.container(id);
    return container && { kind, container };
  }

  #wantsHandler(method: string): boolean {
    return this.#concerned(method).some(({ selector, methods }) => {
      if (selector.runtimeHandlers) return true;
      const plans = [methods.get(method), methods.get("RunPodSandbox")];
      return plans.some((plan) => plan && asksForHandler(plan));
    });
  }

  #decided(call: PolicyCall, found: FoundById | undefined): PolicyDecision {
    const { method, message } = call;
    if (method === "RestorePod") return this.#decideRestore(call);
    const pinned = this.#pinnedFor(call);
    const knownHandler = found?.kind === "sandbox" ? found.pod.runtimeHandler : undefined;
    const runtimeHandler = pinned?.runtimeHandler ?? knownHandler;
    let copied: readonly WantedMutation[] = [];
    if (method === "CreateContainer") {
      const again = pinned ? undefined : this.#sandboxAgain(call, runtimeHandler);
      if (again?.denied) return again;
      copied = pinned?.copies ?? again?.copies ?? [];
    }
    const decision = this.#one(call, { found, runtimeHandler, copied });
    if (method === "RunPodSandbox" && !decision.denied)
      this.#pin({ ...call, message: decision.message ?? message }, decision.copies);
    return decision;
  }

  #one(
    { method, message, listener }: PolicyCall,
    known: {
      readonly found?: FoundById | undefined;
      readonly runtimeHandler?: string | undefined;
      readonly copied?: readonly WantedMutation[];
      readonly fixed?: boolean;
    },
  ): Decision {
    const described = methodOf(method);
    return decide(
      this.#concerned(method),
      {
        method,
        service: described?.service ?? "RuntimeService",
        request: described?.request,
        message,
        listener,
        facts: factsOf({
          method,
          message,
          listener,
          found: known.found,
          runtimeHandler: known.runtimeHandler,
        }),
        copied: known.copied ?? [],
      },
      known.fixed ? { ...this.#options, fixed: true } : this.#options,
    );
  }

  /**
   * What the policies of now do to the sandbox of a container whose RunPodSandbox was not seen, such as one from before
   * this process: the same as then, unless they were changed since.
   */
  #sandboxAgain({ message, listener }: PolicyCall, handler: string | undefined): Decision | undefined {
    if (!this.#policies.some(changesSandboxes)) return undefined;
    try {
      const config = new MessageReader(message).submessage([namedBy("CreateContainer")?.config ?? 0]);
      if (!config) return undefined;
      const sandbox = [bytesField(RUN_POD_SANDBOX.config, config)];
      if (handler) sandbox.push(bytesField(RUN_POD_SANDBOX.runtimeHandler, handler));
      const changing = this.#policies.filter(changesSandboxes);
      const method = "RunPodSandbox";
      const again = Buffer.concat(sandbox);
      return decide(
        changing.map(withoutValidations),
        {
          method,
          service: "RuntimeService",
          request: "RunPodSandboxRequest",
          message: again,
          listener,
          facts: factsOf({ method, message: again, listener, found: undefined, runtimeHandler: handler }),
          copied: [],
        },
        this.#options,
      );
    } catch {
      return undefined; // cannot be read: the policies for the call itself find that out
    }
  }

  #pin({ message, listener }: PolicyCall, copies: readonly WantedMutation[]): void {
    const key = pinKey("RunPodSandbox", message, listener);
    const handler = readable(() => new MessageReader(message).text([RUN_POD_SANDBOX.runtimeHandler]));
    if (!key) return;
    this.#pinned.delete(key);
    this.#pinned.set(key, { copies, runtimeHandler: handler ?? "" });
    if (this.#pinned.size <= MAX_SANDBOXES) return;
    const [oldest] = this.#pinned.keys();
    if (oldest !== undefined) this.#pinned.delete(oldest);
  }

  #pinnedFor({ method, message, listener }: PolicyCall): Pinned | undefined {
    if (method !== "CreateContainer") return undefined;
    const key = pinKey("CreateContainer", message, listener);
    const pinned = key ? this.#pinned.get(key) : undefined;
    if (!key || !pinned) return undefined;
    this.#pinned.delete(key);
    this.#pinned.set(key, pinned);
    return pinned;
  }

  /** As if all that is restored came by calls of its own; what cannot be judged so is left to each failurePolicy. */
  #decideRestore(call: PolicyCall): PolicyDecision {
    const own = this.#policies.filter(({ methods }) => methods.has("RestorePod"));
    const described = { ...call, method: "RestorePod" };
    const decisions: Decision[] = [decideAlone(own, described, this.#options)];
    const calls = readable(() => restoredCalls(call.message)) ?? [];
    for (const { method, message } of calls) {
      if (decisions.some(({ denied }) => denied)) break;
      decisions.push(this.#one({ ...call, method, message }, { runtimeHandler: undefined, fixed: true }));
    }
    const unseen = creating.filter((name) => !calls.some(({ method }) => method === name));
    const hidden = this.#policies.filter(({ methods }) => unseen.some((name) => methods.has(name)));
    const outcomes = decisions.flatMap((decision) => decision.outcomes);
    const changes = decisions.flatMap((decision) => decision.changes);
    const denied = decisions.find((decision) => decision.denied)?.denied;
    if (denied) return { message: undefined, denied, outcomes, changes };
    const why = "it could not be evaluated: the request does not say what it restores";
    const failing = hidden.find(({ failurePolicy, enforced }) => failurePolicy === "Fail" && enforced);
    if (failing) {
      const refused: PolicyOutcome = { policy: failing.name, action: "failed", message: why };
      return {
        message: undefined,
        denied: { policy: failing.name, message: why },
        outcomes: [...outcomes, refused],
        changes,
      };
    }
    const ignored = hidden.map(
      ({ name }): PolicyOutcome => ({ policy: name, action: "ignored", message: why }),
    );
    return { message: undefined, denied: undefined, outcomes: [...outcomes, ...ignored], changes };
  }
}

const RUN_POD_SANDBOX = { config: 1, runtimeHandler: 2 } as const;

/** What one listener's clients say of a sandbox is remembered apart from what the kubelet says. */
function pinKey(
  method: "RunPodSandbox" | "CreateContainer",
  message: Uint8Array,
  listener: string | undefined,
): string | undefined {
  const key = readable(() => sandboxKey(method, message));
  return key && listener !== undefined ? `${listener} ${key}` : key;
}

/** A method that our API does not describe, judged by what its name says. */
function decideAlone(policies: readonly RuntimePolicy[], call: PolicyCall, options: DecideOptions): Decision {
  const { method, message, listener } = call;
  const facts = factsOf({ method, message, found: undefined });
  const undescribed = {
    method,
    service: "RuntimeService",
    request: undefined,
    message,
    listener,
    facts,
    copied: [],
  };
  return decide(policies, undescribed, options);
}

/** The policy as far as it changes sandboxes: a sandbox that runs is not judged again for each of its containers. */
function withoutValidations(policy: RuntimePolicy): RuntimePolicy {
  const plan = policy.methods.get("RunPodSandbox");
  return plan
    ? { ...policy, methods: new Map([["RunPodSandbox", { ...plan, validations: [] }]]), imageRewrites: [] }
    : policy;
}

function asksForHandler({
  variables,
  conditions,
  validations,
}: NonNullable<ReturnType<RuntimePolicy["methods"]["get"]>>): boolean {
  const expressions = [
    ...variables.map(({ expression }) => expression),
    ...conditions.map(({ expression }) => expression),
    ...validations.map(({ expression }) => expression),
  ];
  return expressions.some(({ source }) => /runtimeHandler|runtime_handler/.test(source));
}

function readable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
