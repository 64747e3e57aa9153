/**
 * Which address of a range set a pod is given first. Pure. An address that was asked for is the only choice; one that is reserved
 * for the pod, or that it had before, is tried before the cursor's; what is reserved for other pods is never given.
 */
import type { PodIdentity } from "../protocol/environment.ts";
import { matchesPod, type PoolOptions } from "../protocol/pool-options.ts";
import type { RequestedAddress } from "../protocol/runtime-config.ts";
import { formatAddress, parseAddress } from "./address.ts";
import { type Candidate, candidateFor, type RangeSet } from "./pool.ts";

/** What one claim goes by. */
export interface Choice {
  /** If set, nothing else will do. */
  readonly only: Candidate | undefined;
  /** Tried in this order before anything else. */
  readonly preferred: readonly Candidate[];
  /** Not to be given, unless preferred. */
  readonly forbidden: ReadonlySet<string>;
}

interface ChoiceOptions {
  readonly set: RangeSet;
  readonly pod: PodIdentity;
  readonly options: PoolOptions;
  readonly requested: RequestedAddress | undefined;
  /** The address that the pod of this name had last. */
  readonly previous: string | undefined;
}

/** Costs as much as there are reservations. */
export function planChoice({ set, pod, options, requested, previous }: ChoiceOptions): Choice {
  const forbidden = new Set<string>();
  const preferred: Candidate[] = [];
  for (const { address, pod: pattern } of options.reservations) {
    const candidate = candidateFor(set, address);
    if (!candidate) continue;
    if (matchesPod(pattern, pod)) preferred.push(candidate);
    else forbidden.add(formatAddress(address));
  }
  for (const { address } of preferred) forbidden.delete(address);
  const before = previous === undefined ? undefined : parseAddress(previous);
  const sticky = before && candidateFor(set, before);
  if (sticky && !forbidden.has(sticky.address)) preferred.push(sticky);
  return { only: requested && candidateFor(set, requested.address), preferred, forbidden };
}
