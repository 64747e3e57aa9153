/** `grpc-timeout` on the wire (gRPC over HTTP/2, "Requests"): up to eight digits and a unit. */

const MAX_DIGITS = 8;

/** Milliseconds, exact also for years; undefined where it is not a timeout, which is the runtime's to refuse. */
export function parseTimeout(text: string): number | undefined {
  const digits = text.length - 1;
  if (digits < 1 || digits > MAX_DIGITS) return undefined;
  let value = 0;
  for (let at = 0; at < digits; at++) {
    const digit = text.charCodeAt(at) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  switch (text.charCodeAt(digits)) {
    case 0x6d: // m
      return value;
    case 0x53: // S
      return value * 1_000;
    case 0x4d: // M
      return value * 60_000;
    case 0x48: // H
      return value * 3_600_000;
    case 0x75: // u
      return value / 1_000;
    case 0x6e: // n
      return value / 1_000_000;
    default:
      return undefined;
  }
}
