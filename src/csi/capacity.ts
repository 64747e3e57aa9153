/** How large a volume is to be. Pure: what fits on the disk is the pool's affair. */
import { invalid, refusal } from "./refusal.ts";
import type { WireCapacityRange } from "./wire.ts";

const GIB = 2 ** 30;
/** Given to a request that names no size: the smallest that people ask for by habit. */
export const DEFAULT_SIZE_BYTES = GIB;

/** What was asked: a volume of `required` to `limit` bytes, either of them 0 for "any". */
export interface CapacityRange {
  readonly requiredBytes: number;
  readonly limitBytes: number;
}

/** What volumes of one kind can be. */
export interface Sizes {
  readonly minimumBytes: number;
  readonly granularityBytes: number;
}

/** Throws `invalid` for a range that nothing can meet, `range` for sizes beyond 8 PiB, which no node disk has. */
export function parseCapacityRange(range: WireCapacityRange | null): CapacityRange {
  const requiredBytes = parseBytes("capacity_range.required_bytes", range?.required_bytes ?? "0");
  const limitBytes = parseBytes("capacity_range.limit_bytes", range?.limit_bytes ?? "0");
  if (limitBytes !== 0 && requiredBytes > limitBytes) {
    throw invalid("capacity_range", `requires ${requiredBytes} bytes and limits them to ${limitBytes}`);
  }
  return { requiredBytes, limitBytes };
}

function parseBytes(field: string, text: string): number {
  const bytes = Number(text);
  if (!/^-?\d+$/.test(text) || bytes < 0)
    throw invalid(field, `is ${text}: give a number of bytes, 0 or more`);
  if (!Number.isSafeInteger(bytes)) {
    throw refusal(
      "range",
      field,
      `${field} is ${text}: no pool holds more than ${Number.MAX_SAFE_INTEGER} bytes`,
    );
  }
  return bytes;
}

/**
 * The size of a new volume: what is required, where the kind of the volume allows that exactly, else the next size that it
 * does allow; `range` where that is beyond the limit.
 */
export function sizeOfNew(range: CapacityRange, sizes: Sizes): number {
  const { requiredBytes, limitBytes } = range;
  const wanted =
    requiredBytes || (limitBytes === 0 ? DEFAULT_SIZE_BYTES : Math.min(DEFAULT_SIZE_BYTES, limitBytes));
  const rounded = roundUp(wanted, sizes);
  if (isWithinRange(rounded, range)) return rounded;
  // Nothing was required: what is below the limit will do.
  const below = Math.floor(limitBytes / sizes.granularityBytes) * sizes.granularityBytes;
  if (requiredBytes === 0 && below >= sizes.minimumBytes) return below;
  throw refusal(
    "range",
    "capacity_range",
    `capacity_range ends at ${limitBytes} bytes, and the smallest volume of its kind from ${wanted} on has ${rounded}`,
  );
}

/** The smallest size from `bytes` on that a volume can have. */
export function roundUp(bytes: number, { minimumBytes, granularityBytes }: Sizes): number {
  return Math.ceil(Math.max(bytes, minimumBytes) / granularityBytes) * granularityBytes;
}

/** Whether a volume of this size is what the range asks for (CreateVolume of a name that exists). */
export function isWithinRange(sizeBytes: number, { requiredBytes, limitBytes }: CapacityRange): boolean {
  return sizeBytes >= requiredBytes && (limitBytes === 0 || sizeBytes <= limitBytes);
}
