/**
 * What the record of one call may hold. A closed list of fields: arguments, environment values, credentials and
 * the `info` of verbose answers cannot get in, because nothing here has a place for them.
 */
import type { Change } from "../policy/apply.ts";

/** Who the call is about, as far as its request says. */
export interface Subject {
  readonly namespace?: string;
  readonly pod?: string;
  readonly podUid?: string;
  readonly container?: string;
  readonly image?: string;
  readonly sandboxId?: string;
}

export interface CallRecord extends Subject {
  /** RFC 3339 time of the request's headers. */
  readonly time: string;
  /** `RunPodSandbox`; for a service that is not CRI v1 the whole path. */
  readonly method: string;
  /** The gRPC status by name, or who reset the call: `reset-by-client`, `reset-by-upstream`, `connection-lost`. */
  readonly status: string;
  /** The whole time as the client saw it, and the part of it that we held the request, in milliseconds. */
  readonly totalMs: number;
  readonly heldMs: number;
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly changes?: readonly Change[];
  /** Why a policy could not be applied; the call went on unchanged. */
  readonly policyError?: string;
}

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

// The kubelet asks for these all the time: 26 calls a second on a full node, and nothing happened in any of them.
const polled =
  /^(Version|Status|List\w+|Stream\w+|PodSandboxStatus|ContainerStatus|ContainerStats|PodSandboxStats|ImageStatus|ImageFsInfo|RuntimeConfig)$/;

/** `debug` for the calls that the kubelet polls, `warn` for failures, `info` for what changes something. */
export function recordLevel(record: CallRecord): "debug" | "info" | "warn" {
  if (record.policyError) return "warn";
  // A container that is gone is everyday news in these loops.
  if (polled.test(record.method)) return ["OK", "NOT_FOUND"].includes(record.status) ? "debug" : "warn";
  return record.status === "OK" ? "info" : "warn";
}
