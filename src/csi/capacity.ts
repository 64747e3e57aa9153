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

/** The size of a new volume: exactly what is required, so that the answer never differs from the request. */
export function sizeOfNew({ requiredBytes, limitBytes }: CapacityRange): number {
  if (requiredBytes !== 0) return requiredBytes;
  return limitBytes === 0 ? DEFAULT_SIZE_BYTES : Math.min(DEFAULT_SIZE_BYTES, limitBytes);
}

/** Whether a volume of this size is what the range asks for (CreateVolume of a name that exists). */
export function isWithinRange(sizeBytes: number, { requiredBytes, limitBytes }: CapacityRange): boolean {
  return sizeBytes >= requiredBytes && (limitBytes === 0 || sizeBytes <= limitBytes);
}
