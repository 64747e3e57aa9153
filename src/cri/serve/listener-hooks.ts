/**
 * What an extra listener lets through, laid over the hooks of the calls, so that policies and the record see its calls as
 * well: methods outside of its list are denied at their headers, and `verbose` is taken out of what passes. Connections
 * without a listener's name, those of the main socket, are none of its business.
 */
import type {
  CallEnd,
  CallObserver,
  CallPlan,
  Denial,
  EditDecision,
  StreamStart,
  TapHooks,
} from "../tap/hooks.ts";
import { hasVerbose, withoutVerbose } from "./clear-verbose.ts";

/** What one extra listener lets through. */
export interface ListenerRule {
  readonly name: string;
  /** The `:path` of each method that passes; see `allowedPaths`. */
  readonly paths: ReadonlySet<string>;
}

const PERMISSION_DENIED = 7;
const INVALID_ARGUMENT = 3;
/** Of what is said of a path: a client may make one as long as a header block. */
const MAX_PATH_LENGTH = 512;

/** `inner` under the rules of these listeners. A connection that names none of them is denied everything. */
export function restrictListeners(inner: TapHooks, rules: readonly ListenerRule[]): TapHooks {
  if (rules.length === 0) return inner;
  const byName = new Map(rules.map((rule) => [rule.name, rule]));
  return {
    onRequest(start) {
      const plan = inner.onRequest(start);
      if (start.listener === undefined) return plan;
      const denial = denialOf(start, byName.get(start.listener));
      if (denial) return { hold: false, call: plan.call, deny: denial };
      // A denial of its own needs no message, and stands.
      if (plan.deny || !hasVerbose(start.path)) return plan;
      return clearing(start.path, plan);
    },
  };
}

function denialOf({ path, listener = "" }: StreamStart, rule: ListenerRule | undefined): Denial | undefined {
  if (rule?.paths.has(path)) return undefined;
  return {
    status: PERMISSION_DENIED,
    message: `${path.slice(0, MAX_PATH_LENGTH)} is not among the methods of the listener "${listener}" of trivet cri`,
  };
}

/** The plan with the message held, and cleared after whatever else was decided on it. */
function clearing(path: string, plan: CallPlan): CallPlan {
  return {
    ...plan,
    hold: true,
    call: new ClearingObserver(path, plan.call, plan.hold),
  };
}

class ClearingObserver implements CallObserver {
  readonly #path: string;
  readonly #inner: CallObserver | undefined;
  /** Whether the inner one asked for the message, and so expects to see it. */
  readonly #innerEdits: boolean;

  constructor(path: string, inner: CallObserver | undefined, innerEdits: boolean) {
    this.#path = path;
    this.#inner = inner;
    this.#innerEdits = innerEdits;
  }

  edit(message: Uint8Array): EditDecision | Promise<EditDecision> {
    const decision = this.#innerEdits ? this.#inner?.edit?.(message) : undefined;
    if (decision instanceof Promise) return decision.then((decided) => this.#clear(message, decided));
    return this.#clear(message, decision ?? { action: "forward" });
  }

  onResponse(message: Uint8Array): void {
    this.#inner?.onResponse?.(message);
  }

  onEnd(end: CallEnd): void {
    this.#inner?.onEnd(end);
  }

  #clear(message: Uint8Array, decision: EditDecision): EditDecision {
    if (decision.action === "deny") return decision;
    try {
      const cleared = withoutVerbose(this.#path, decision.action === "replace" ? decision.message : message);
      return cleared ? { action: "replace", message: cleared } : decision;
    } catch (error) {
      // What we cannot read the runtime might: it must not be asked.
      const why = error instanceof Error ? error.message : String(error);
      return {
        action: "deny",
        status: INVALID_ARGUMENT,
        message: `the request cannot be read: ${why}`,
      };
    }
  }
}
