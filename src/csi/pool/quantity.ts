/** Sizes as people write them in Kubernetes: `10Gi`, `500M`, `1.5Ti`, or plain bytes. Pure. */
import { invalid } from "../refusal.ts";

const factors: Readonly<Record<string, number>> = {
  "": 1,
  k: 1e3,
  K: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
};

/** `text` in bytes; `invalid`, naming `field`, for what is no positive whole number of bytes. */
export function parseQuantity(field: string, text: string): number {
  const [, number, unit = ""] = /^(\d+(?:\.\d+)?)([A-Za-z]*)$/.exec(text) ?? [];
  const factor = factors[unit];
  const bytes = number === undefined || factor === undefined ? Number.NaN : Number(number) * factor;
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw invalid(field, `is "${text}": give a size such as 10Gi, 500M or a number of bytes`);
}
