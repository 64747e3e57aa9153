/** Sums up calls by method. Pure; in memory that does not grow with the number of calls. */
import type { CallRecord } from "../../cri/record/call-record.ts";

/** Of one method. Milliseconds; NaN where nothing was measured. */
export interface MethodStats {
  readonly method: string;
  readonly count: number;
  readonly errors: number;
  readonly runtimeP50: number;
  readonly runtimeP99: number;
  readonly ownP50: number;
  readonly ownP99: number;
}

/** Two neighbouring buckets differ by so much: the error of a percentile. */
const STEP = 1.02;
const LOG_STEP = Math.log(STEP);
const SMALLEST_MS = 0.001;

/** Values by their order of magnitude, with weights. */
export class Durations {
  readonly #counts = new Map<number, number>();
  #total = 0;

  add(ms: number, weight: number): void {
    const bucket = Math.round(Math.log(Math.max(ms, SMALLEST_MS)) / LOG_STEP);
    this.#counts.set(bucket, (this.#counts.get(bucket) ?? 0) + weight);
    this.#total += weight;
  }

  /** For 0.99, what 99 of a hundred are not above. NaN without values. */
  quantile(share: number): number {
    let left = share * this.#total;
    for (const [bucket, count] of [...this.#counts].sort(([a], [b]) => a - b)) {
      left -= count;
      if (left <= 1e-9) return Math.exp(bucket * LOG_STEP);
    }
    return Number.NaN;
  }
}

/** A record in the log is one call, or stands for several. */
export class CallStats {
  readonly #methods = new Map<
    string,
    { count: number; errors: number; runtime: Durations; own: Durations }
  >();

  add({ method, status, runtimeMs, oursMs, sample = 1 }: CallRecord): void {
    const known = this.#methods.get(method);
    const stats = known ?? { count: 0, errors: 0, runtime: new Durations(), own: new Durations() };
    if (!known) this.#methods.set(method, stats);
    stats.count += sample;
    if (status !== "OK") stats.errors += sample;
    if (runtimeMs !== undefined) stats.runtime.add(runtimeMs, sample);
    if (oursMs !== undefined) stats.own.add(oursMs, sample);
  }

  /** The most frequent method first. */
  all(): MethodStats[] {
    const all = [...this.#methods].map(([method, { count, errors, runtime, own }]) => ({
      ...{ method, count, errors },
      runtimeP50: runtime.quantile(0.5),
      runtimeP99: runtime.quantile(0.99),
      ownP50: own.quantile(0.5),
      ownP99: own.quantile(0.99),
    }));
    return all.sort((a, b) => b.count - a.count || a.method.localeCompare(b.method));
  }
}
