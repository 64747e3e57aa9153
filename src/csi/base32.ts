/** Hashes that are safe as file names, label values and parts of an id: SHA-256 in lower-case base32 (RFC 4648). */
import { createHash } from "node:crypto";

const alphabet = "abcdefghijklmnopqrstuvwxyz234567";
const BITS_PER_LETTER = 5;

/** The first `letters` letters of the hash of `text`: 5 bits each, at most 51. */
export function hashLetters(text: string, letters: number): string {
  const bits = [...createHash("sha256").update(text).digest()]
    .map((byte) => byte.toString(2).padStart(8, "0"))
    .join("");
  return Array.from({ length: letters }, (_, index) => {
    const at = index * BITS_PER_LETTER;
    return alphabet[Number.parseInt(bits.slice(at, at + BITS_PER_LETTER), 2)];
  }).join("");
}
