/** `grpc-timeout` on the wire (gRPC over HTTP/2, "Requests"): up to eight digits and a unit. */

const UNIT_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};
const MAX_DIGITS = 8;

/** Milliseconds, exact also for years; undefined where it is not a timeout, which is the runtime's to refuse. */
export function parseTimeout(text: string): number | undefined {
  const digits = text.length - 1;
  const unit = UNIT_MS[text.charAt(digits)];
  if (unit === undefined || digits < 1 || digits > MAX_DIGITS) return undefined;
  let value = 0;
  for (let at = 0; at < digits; at++) {
    const digit = text.charCodeAt(at) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  return value * unit;
}
