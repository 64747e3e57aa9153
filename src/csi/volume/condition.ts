/** VolumeCondition: whether something is wrong with a volume, as one sentence for whoever looks at its claim. */
import { isKind } from "../../errors.ts";
import type { VolumeUsage } from "../backend/backend.ts";
import type { FoundVolume } from "../pool/pools.ts";

/** VolumeCondition as on the wire. */
export interface Condition {
  readonly abnormal: boolean;
  readonly message: string;
}

/** From here on a writer is soon stopped. */
const NEARLY_FULL = 0.95;

/** Nothing is wrong. */
export const healthy: Condition = { abnormal: false, message: "the volume is whole and its limit in force" };

/** What is wrong, in a sentence. */
export function abnormal(message: string): Condition {
  return { abnormal: true, message };
}

/** A look at the volume on its disk; `usage` is known where somebody has asked for it. Cheap. */
export async function conditionOf({ pool, record }: FoundVolume, usage?: VolumeUsage): Promise<Condition> {
  const backend = pool.backendOf(record);
  const problem = await backend.problem(pool.place(record)).catch((error: Error) => error.message);
  if (problem !== undefined) return abnormal(problem);
  const full = usage && fullnessOf(usage);
  return full === undefined ? healthy : abnormal(full);
}

/** What a failed search for a volume says about its condition; undefined where it says that there is no such volume. */
export function conditionOfFailure(error: unknown): Condition | undefined {
  return isKind(error, "unavailable", "precondition", "io") ? abnormal(error.message) : undefined;
}

function fullnessOf({ bytes, inodes }: VolumeUsage): string | undefined {
  if (bytes.available < bytes.total * (1 - NEARLY_FULL)) {
    return `nearly full: ${bytes.available} of ${bytes.total} bytes are left`;
  }
  if (inodes && inodes.total > 0 && inodes.available < inodes.total * (1 - NEARLY_FULL)) {
    return `nearly full: ${inodes.available} of ${inodes.total} inodes are left`;
  }
  return undefined;
}
