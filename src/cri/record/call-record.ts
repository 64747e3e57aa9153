/**
 * What the record of one call may hold. A closed list of fields: arguments, environment values, credentials and
 * the `info` of verbose answers cannot get in, because nothing here has a place for them.
 */
import type { CallEnd } from "../tap/hooks.ts";
import type { FieldChange } from "../wire/mutation.ts";
import { methodClass } from "./method-class.ts";

/** Who the call is about, as far as its request and what is known of the ids in it say. */
export interface Subject {
  readonly namespace?: string;
  readonly pod?: string;
  readonly podUid?: string;
  readonly container?: string;
  readonly image?: string;
  readonly sandboxId?: string;
  readonly containerId?: string;
}

/** What a policy made of a call. */
export interface PolicyOutcome {
  readonly policy: string;
  /**
   * `mutated`: changed the request. `denied`: refused the call. `warned`, `audited`: would have done either, and was told
   * to tell only. `failed`: could not be applied, and the call was refused; `ignored`: the same, and the call went on.
   */
  readonly action: "mutated" | "denied" | "warned" | "audited" | "failed" | "ignored";
  readonly message?: string;
}

/** A change, and the policy that made it, or would have. */
export type PolicyChange = FieldChange & {
  readonly policy: string;
  /** The policy only tells: the request was not changed so. */
  readonly dryRun?: boolean;
};

export interface CallRecord extends Subject {
  /** RFC 3339 time of the request's headers. */
  readonly time: string;
  /** `RunPodSandbox`; for a service that is not CRI v1 the whole path. */
  readonly method: string;
  /** The name of the extra listener that it came by. */
  readonly listener?: string;
  /** The gRPC status by name, or who reset the call: `reset-by-client`, `reset-by-upstream`, `connection-lost`. */
  readonly status: string;
  /** The whole time as the client saw it, in milliseconds. */
  readonly totalMs: number;
  /** From the last byte of the request to the end of the answer; absent where the runtime was not asked. */
  readonly runtimeMs?: number;
  /** From the first byte of the request to the last one that we passed on. */
  readonly oursMs?: number;
  /** The part of `oursMs` that the request was held to be looked at; 0 where it was not. */
  readonly heldMs: number;
  /** True where we answered in the place of the runtime: a denial, or a runtime that is away. */
  readonly answeredByProxy?: boolean;
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly policies?: readonly PolicyOutcome[];
  readonly changes?: readonly PolicyChange[];
  readonly denied?: { readonly policy: string; readonly message: string };
  /** Why a policy could not be applied; the call went on unchanged. */
  readonly policyError?: string;
  /** The line stands for so many calls of its method that went well: the others were left out. */
  readonly sample?: number;
}

/** What policies made of a call; empty where none matched. */
export type Decided = Pick<CallRecord, "policies" | "changes" | "denied" | "policyError">;

/** gRPC's status codes by number. */
const statusNames = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
] as const;

const resetNames = {
  client: "reset-by-client",
  upstream: "reset-by-upstream",
  connection: "connection-lost",
} as const;

export function statusName(end: {
  readonly grpcStatus: number | undefined;
  readonly reset: keyof typeof resetNames | undefined;
}): string {
  if (end.grpcStatus !== undefined) return statusNames[end.grpcStatus] ?? `status-${end.grpcStatus}`;
  return end.reset ? resetNames[end.reset] : "no-status";
}

const roundMs = (ms: number): number => (Number.isFinite(ms) ? Math.round(ms * 1000) / 1000 : 0);

/** How the call ended and what it cost, in the fields of its record. */
export function measuresOf(
  end: CallEnd,
): Pick<
  CallRecord,
  | "status"
  | "totalMs"
  | "runtimeMs"
  | "oursMs"
  | "heldMs"
  | "answeredByProxy"
  | "requestBytes"
  | "responseBytes"
> {
  const { startMs, requestDoneMs, endMs, heldMs } = end.timing;
  const asked = Number.isFinite(requestDoneMs) && end.answeredByTap !== true;
  return {
    status: statusName(end),
    totalMs: roundMs(endMs - startMs),
    ...(asked && { runtimeMs: roundMs(endMs - requestDoneMs) }),
    oursMs: roundMs((asked ? requestDoneMs : endMs) - startMs),
    heldMs: roundMs(heldMs),
    ...(end.answeredByTap === true && { answeredByProxy: true }),
    requestBytes: end.requestBytes,
    responseBytes: end.responseBytes,
  };
}

/** Whether the call went as it should. A container that is gone is everyday news to whoever asks for its status. */
export function wentWell({ method, status }: Pick<CallRecord, "method" | "status">): boolean {
  return status === "OK" || (status === "NOT_FOUND" && methodClass(method) === "status");
}

const worrying: ReadonlySet<PolicyOutcome["action"]> = new Set(["denied", "warned", "failed", "ignored"]);

/** `debug` for the calls that the kubelet polls, `warn` for failures, `info` for what changes something. */
export function recordLevel(record: CallRecord): "debug" | "info" | "warn" {
  if (record.policyError || record.policies?.some(({ action }) => worrying.has(action))) return "warn";
  if (!wentWell(record)) return "warn";
  const routine = ["status", "poll", "probe"].includes(methodClass(record.method));
  return routine && !record.policies?.length ? "debug" : "info";
}
