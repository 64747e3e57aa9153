/**
 * What an ADD does once when it finds no free address: looks for those of dead pods, twice, a moment apart. Those that came a short
 * while ago are left to their runtime.
 */
import type { Clock } from "../../host/clock.ts";
import type { Sweeper } from "./sweeper.ts";

const BETWEEN_LOOKS_MS = 500;
/** Younger ones may belong to a pod that is just being made or taken down. */
const MIN_AGE_MS = 60_000;

interface ReclaimOptions {
  readonly clock: Clock;
  readonly sweeper: Sweeper;
  readonly network: string;
}

/** Gives how many findings were settled. Never rejects. */
export async function reclaim({ clock, sweeper, network }: ReclaimOptions): Promise<number> {
  const look = { network, graceMs: 0, minAgeMs: MIN_AGE_MS };
  const first = await sweeper.sweep(look);
  // The first look acts as well on what an earlier one has seen.
  if (first.settled.length > 0) return first.settled.length;
  if (first.waiting.length === 0) return 0;
  await clock.sleep(BETWEEN_LOOKS_MS);
  return (await sweeper.sweep(look)).settled.length;
}
