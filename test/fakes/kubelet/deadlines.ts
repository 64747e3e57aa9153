/**
 * The deadline that the kubelet gives each CRI call, by method. `T` is its `runtimeRequestTimeout`. A method that is
 * not in the tables gets `T`.
 */

/** The kubelet's default `runtimeRequestTimeout`. */
export const RUNTIME_REQUEST_TIMEOUT_MS = 120_000;

const MS_PER_SECOND = 1000;

type DeadlineRule = (timeoutMs: number, request: Record<string, unknown>) => number;

const rules: Readonly<Record<string, DeadlineRule>> = {
  RunPodSandbox: (timeoutMs) => 2 * timeoutMs,
  // The grace period comes on top, and it may be days.
  StopContainer: (timeoutMs, request) => timeoutMs + Number(request.timeout ?? 0) * MS_PER_SECOND,
  // A probe without a time-out may run for ever.
  ExecSync: (timeoutMs, request) => {
    const probeMs = Number(request.timeout ?? 0) * MS_PER_SECOND;
    return probeMs === 0 ? Number.POSITIVE_INFINITY : timeoutMs + probeMs;
  },
  CheckpointContainer: (timeoutMs, request) =>
    Math.max(timeoutMs, Number(request.timeout ?? 0) * MS_PER_SECOND),
  // Ended by cancelling only.
  PullImage: () => Number.POSITIVE_INFINITY,
  GetContainerEvents: () => Number.POSITIVE_INFINITY,
};

/** Milliseconds from now; Infinity for a call without a deadline. */
export function deadlineMs(method: string, request: object, timeoutMs = RUNTIME_REQUEST_TIMEOUT_MS): number {
  return rules[method]?.(timeoutMs, request as Record<string, unknown>) ?? timeoutMs;
}
