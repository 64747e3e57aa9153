/** A hard limit for one call. At the limit its signal is aborted and it gets a little time to roll back; then we answer. */
import { TrivetError } from "../errors.ts";
import type { Clock } from "../host/clock.ts";

/** For rolling back. What takes longer goes on, but the caller has its answer. */
const GRACE_MS = 5_000;

interface DeadlineOptions {
  readonly clock: Clock;
  readonly limitMs: number;
  /** Names the call in the error. */
  readonly what: string;
  /** Aborted when the caller is gone; the call is then rolled back too. */
  readonly signal?: AbortSignal | undefined;
}

/** Throws kind `deadline` when `work` had to be given up. */
export async function withDeadline<T>(
  { clock, limitMs, what, signal }: DeadlineOptions,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = new TrivetError({
    kind: "deadline",
    op: "call.deadline",
    subject: what,
    message: `${what} took longer than ${limitMs} ms and was taken back`,
  });
  const expired = new AbortController();
  const finished = new AbortController();
  const limit = async (): Promise<never> => {
    await clock.sleep(limitMs, finished.signal);
    expired.abort(late);
    await clock.sleep(GRACE_MS, finished.signal);
    throw late;
  };
  const signals = signal ? [expired.signal, signal] : [expired.signal];
  try {
    return await Promise.race([work(AbortSignal.any(signals)), limit()]);
  } finally {
    finished.abort();
  }
}
