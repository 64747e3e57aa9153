/**
 * What happens to each call on its way through the tap: its request is held if a policy or the record asks for
 * it, changed if a policy says so, and one record is written when it is over.
 */
import type { Change } from "./policy/apply.ts";
import { applyPolicies, isPolicyMethod } from "./policy/apply.ts";
import type { RuntimePolicy } from "./policy/schema.ts";
import {
  type CallWatch,
  type CallWatchOptions,
  createCallWatch,
  type WatchedCall,
} from "./record/call-watch.ts";
import type { CallEnd, CallObserver, EditDecision, TapHooks } from "./tap/hooks.ts";

export interface CallsOptions extends CallWatchOptions {
  readonly policies: readonly RuntimePolicy[];
}

const CRI_PATH = /^\/runtime\.v1\.(?:RuntimeService|ImageService)\/(\w+)$/;

/** `/runtime.v1.RuntimeService/Version` as `Version`; any other path as it is. */
export function methodOf(path: string): string {
  return CRI_PATH.exec(path)?.[1] ?? path;
}

export function createCalls({ policies, ...options }: CallsOptions): TapHooks {
  const watch: CallWatch = createCallWatch(options);
  return {
    onRequest(start) {
      const method = methodOf(start.path);
      // The methods that policies change are among those that the record wants to read.
      return { ...watch.wants(method), call: new Call(method, policies, watch.open(start, method)) };
    },
  };
}

class Call implements CallObserver {
  readonly #method: string;
  readonly #policies: readonly RuntimePolicy[];
  readonly #watched: WatchedCall;
  #changes: readonly Change[] = [];
  #policyError: string | undefined;

  constructor(method: string, policies: readonly RuntimePolicy[], watched: WatchedCall) {
    this.#method = method;
    this.#policies = policies;
    this.#watched = watched;
  }

  edit(message: Uint8Array): EditDecision {
    this.#watched.request(message);
    const changed = this.#change(message);
    this.#watched.forwarded(changed ?? message);
    return changed ? { action: "replace", message: changed } : { action: "forward" };
  }

  #change(message: Uint8Array): Uint8Array | undefined {
    if (!isPolicyMethod(this.#method)) return undefined;
    try {
      const applied = applyPolicies(this.#policies, this.#method, message);
      this.#changes = applied.changes;
      return applied.message;
    } catch (error) {
      // A request that we cannot read goes on as it came: the runtime is the one to judge it.
      this.#policyError = error instanceof Error ? error.message : String(error);
      return undefined;
    }
  }

  onResponse(message: Uint8Array): void {
    this.#watched.response(message);
  }

  onEnd(end: CallEnd): void {
    this.#watched.end(end, {
      ...(this.#changes.length > 0 && { changes: this.#changes }),
      ...(this.#policyError !== undefined && { policyError: this.#policyError }),
    });
  }
}
