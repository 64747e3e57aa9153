/** What of a pool can still be had. Pure. */
import type { Ledger, Room } from "./ledger.ts";

/** The largest volume that would be made now; never negative. */
export function bytesLeft({ reservedBytes }: Ledger, { limitBytes, availableBytes }: Room): number {
  return Math.max(0, Math.min(limitBytes - reservedBytes, availableBytes));
}
