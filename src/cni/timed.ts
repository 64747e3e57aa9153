/** Tells how long a step of a call took, where somebody wants to know. */
import type { CniDeps, CniStepObservation } from "./deps.ts";

/** The result of the work, which is begun at once; what it throws goes on. */
export async function timed<T>(
  { clock, observer }: Pick<CniDeps, "clock" | "observer">,
  { command, step }: Omit<CniStepObservation, "ms">,
  work: () => Promise<T>,
): Promise<T> {
  if (!observer?.step) return work();
  const started = clock.monotonicNs();
  try {
    return await work();
  } finally {
    observer.step({ command, step, ms: Number(clock.monotonicNs() - started) / 1e6 });
  }
}
