/**
 * What happens to each call on its way through the tap: its request is held if a policy or the record asks for it, changed
 * or refused if a policy says so, and one record is written when it is over. Policies come as an interface: without them,
 * none of what they need is loaded.
 */
import type { PolicyDecision, PolicyEngine } from "./policy/engine.ts";
import {
  type CallWatch,
  type CallWatchOptions,
  createCallWatch,
  type Decided,
  type WatchedCall,
} from "./record/call-watch.ts";
import type { CallEnd, CallObserver, Denial, EditDecision, StreamStart, TapHooks } from "./tap/hooks.ts";
import { methodOf as describedMethod } from "./wire/descriptors.ts";

export interface CallsOptions extends CallWatchOptions {
  readonly policies?: PolicyEngine | undefined;
  /** Whether methods that our CRI does not know are refused. They pass if not given. */
  readonly unknownMethods?: "allow" | "deny";
}

const CRI_PATH = /^\/runtime\.v1\.(?:RuntimeService|ImageService)\/(\w{1,128})$/;
/** The API before v1, which containerd serves up to 1.7: the same methods, with the same fields. */
const OLD_PATH = /^\/runtime\.v1alpha2\.(?:RuntimeService|ImageService)\/(\w+)$/;
const PERMISSION_DENIED = 7;
const UNIMPLEMENTED = 12;

/** Of a path in records and messages: a client may make one as long as a header block. */
const MAX_PATH_LENGTH = 512;

/** `/runtime.v1.RuntimeService/Version` as `Version`; any other path as it is, but cut where it is long. */
export function methodOf(path: string): string {
  return CRI_PATH.exec(path)?.[1] ?? path.slice(0, MAX_PATH_LENGTH);
}

function denyUnknown(method: string): Denial {
  const message = `${method} is no method that this proxy knows, and cri.unknownMethods is deny`;
  return { status: PERMISSION_DENIED, message };
}

/** A way around the policies otherwise. Clients take UNIMPLEMENTED for a runtime that has v1 alone. */
function denyOld(path: string, policies: PolicyEngine | undefined): Denial | undefined {
  const method = OLD_PATH.exec(path)?.[1];
  if (method === undefined || policies?.holds(method) !== true) return undefined;
  const message = `there are policies about ${method}, which are for CRI v1: use runtime.v1 in the place of runtime.v1alpha2`;
  return { status: UNIMPLEMENTED, message };
}

export function createCalls({ policies, unknownMethods = "allow", ...options }: CallsOptions): TapHooks {
  const watch: CallWatch = createCallWatch(options);
  return {
    onRequest(start) {
      const method = methodOf(start.path);
      const held = policies?.holds(method) === true;
      const call = new Call(method, start, { policies: held ? policies : undefined, watch });
      const wanted = watch.wants(method);
      if (unknownMethods === "deny" && !describedMethod(method)) {
        return { hold: false, call, deny: denyUnknown(method) };
      }
      const old = denyOld(start.path, policies);
      if (old) return { hold: false, call, deny: old };
      return { ...wanted, hold: wanted.hold || held, call };
    },
  };
}

interface CallParts {
  readonly policies: PolicyEngine | undefined;
  readonly watch: CallWatch;
}

class Call implements CallObserver {
  readonly #method: string;
  readonly #listener: string | undefined;
  readonly #policies: PolicyEngine | undefined;
  readonly #watched: WatchedCall;
  #over = false;

  constructor(method: string, start: StreamStart, { policies, watch }: CallParts) {
    this.#method = method;
    this.#listener = start.listener;
    this.#policies = policies;
    this.#watched = watch.open(start, method);
  }

  edit(message: Uint8Array): EditDecision | Promise<EditDecision> {
    this.#watched.request(message);
    if (!this.#policies) return this.#pass(message, undefined);
    const decision = this.#policies.decide({ method: this.#method, message, listener: this.#listener });
    if (!(decision instanceof Promise)) return this.#pass(message, decision);
    return decision.then((decided) => this.#pass(message, decided));
  }

  #pass(message: Uint8Array, decision: PolicyDecision | undefined): EditDecision {
    // The client may have gone while the runtime was asked: nothing of it is forwarded then.
    if (this.#over) return { action: "forward" };
    if (decision) {
      const denied = this.#watched.decided(message, toldOf(decision));
      if (denied) {
        const { policy, message: why } = denied;
        return { action: "deny", status: PERMISSION_DENIED, message: `denied by policy ${policy}: ${why}` };
      }
    }
    this.#watched.forwarded(decision?.message ?? message);
    return decision?.message ? { action: "replace", message: decision.message } : { action: "forward" };
  }

  onResponse(message: Uint8Array): void {
    this.#watched.response(message);
  }

  onEnd(end: CallEnd): void {
    this.#over = true;
    this.#watched.end(end);
  }
}

/** What the record has of a decision: nothing where no policy matched. */
function toldOf({ outcomes, changes, denied }: PolicyDecision): Decided {
  return {
    ...(outcomes.length > 0 && { policies: outcomes }),
    ...(changes.length > 0 && { changes }),
    ...(denied && { denied }),
  };
}
