/** `grpc-message` on the wire (gRPC over HTTP/2, "Responses"): UTF-8, percent-encoded outside printable ASCII. */

/** Keeps our header blocks within one frame, and within what clients accept as a header list. */
const MAX_TEXT_BYTES = 2_048;
const PERCENT = 0x25;

/** The text as `grpc-message` octets; longer than 2 KiB it is cut, at a character. */
export function encodeStatusText(text: string): string {
  let encoded = "";
  for (const character of text) {
    const octets = Buffer.from(character, "utf8");
    const part = isPlain(octets) ? character : percent(octets);
    if (encoded.length + part.length > MAX_TEXT_BYTES) break;
    encoded += part;
  }
  return encoded;
}

function isPlain(octets: Buffer): boolean {
  const first = octets[0] ?? 0;
  return octets.length === 1 && first >= 0x20 && first <= 0x7e && first !== PERCENT;
}

function percent(octets: Buffer): string {
  return Array.from(octets, (octet) => `%${octet.toString(16).toUpperCase().padStart(2, "0")}`).join("");
}

/** The reverse. What is not valid percent-encoding stands as it is: a status text is never worth an error. */
export function decodeStatusText(encoded: string): string {
  if (!encoded.includes("%")) return encoded;
  const octets: number[] = [];
  for (let at = 0; at < encoded.length; at++) {
    const hex = /^%[0-9a-fA-F]{2}$/.test(encoded.slice(at, at + 3))
      ? encoded.slice(at + 1, at + 3)
      : undefined;
    octets.push(hex === undefined ? encoded.charCodeAt(at) & 0xff : Number.parseInt(hex, 16));
    if (hex !== undefined) at += 2;
  }
  return Buffer.from(octets).toString("utf8");
}
