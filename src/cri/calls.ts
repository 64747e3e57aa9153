/**
 * What happens to each call on its way through the tap: its request is held if a policy or the record asks for
 * it, changed if a policy says so, and one record is written when it is over.
 */
import type { Change } from "./policy/apply.ts";
import { applyPolicies, isPolicyMethod } from "./policy/apply.ts";
import type { RuntimePolicy } from "./policy/schema.ts";
import { type CallRecord, type Subject, statusName } from "./record/call-record.ts";
import { namedMethods, subjectOf } from "./record/subject.ts";
import type { CallEnd, CallObserver, EditDecision, TapHooks } from "./tap/hooks.ts";

export interface CallsOptions {
  readonly policies: readonly RuntimePolicy[];
  /** Takes the record of each finished call. Must not throw and must not wait. */
  readonly record: (record: CallRecord) => void;
  /** Wall-clock milliseconds. */
  readonly nowMs: () => number;
}

const CRI_PATH = /^\/runtime\.v1\.(?:RuntimeService|ImageService)\/(\w+)$/;

/** `/runtime.v1.RuntimeService/Version` as `Version`; any other path as it is. */
export function methodOf(path: string): string {
  return CRI_PATH.exec(path)?.[1] ?? path;
}

const roundMs = (ms: number): number => (Number.isFinite(ms) ? Math.round(ms * 1000) / 1000 : 0);

export function createCalls({ policies, record, nowMs }: CallsOptions): TapHooks {
  return {
    onRequest({ path }) {
      const method = methodOf(path);
      // The methods that policies change are those that the record wants to read.
      return { hold: namedMethods.has(method), call: new Call(method, policies, record, nowMs()) };
    },
  };
}

class Call implements CallObserver {
  readonly #method: string;
  readonly #policies: readonly RuntimePolicy[];
  readonly #record: (record: CallRecord) => void;
  readonly #startMs: number;
  #subject: Subject = {};
  #changes: readonly Change[] = [];
  #policyError: string | undefined;

  constructor(
    method: string,
    policies: readonly RuntimePolicy[],
    record: (record: CallRecord) => void,
    startMs: number,
  ) {
    this.#method = method;
    this.#policies = policies;
    this.#record = record;
    this.#startMs = startMs;
  }

  edit(message: Uint8Array): EditDecision {
    this.#subject = subjectOf(this.#method, message);
    if (!isPolicyMethod(this.#method)) return { action: "forward" };
    try {
      const applied = applyPolicies(this.#policies, this.#method, message);
      this.#changes = applied.changes;
      if (applied.message) return { action: "replace", message: applied.message };
    } catch (error) {
      // A request that we cannot read goes on as it came: the runtime is the one to judge it.
      this.#policyError = error instanceof Error ? error.message : String(error);
    }
    return { action: "forward" };
  }

  onEnd(end: CallEnd): void {
    const { timing } = end;
    this.#record({
      time: new Date(this.#startMs).toISOString(),
      method: this.#method,
      ...this.#subject,
      status: statusName(end),
      totalMs: roundMs(timing.endMs - timing.startMs),
      heldMs: roundMs(timing.heldMs),
      requestBytes: end.requestBytes,
      responseBytes: end.responseBytes,
      ...(this.#changes.length > 0 && { changes: this.#changes }),
      ...(this.#policyError !== undefined && { policyError: this.#policyError }),
    });
  }
}
