/** Hashes that are safe as file names, label values and parts of an id: SHA-256 in lower-case base32 (RFC 4648). */
import { createHash } from "node:crypto";

const alphabet = "abcdefghijklmnopqrstuvwxyz234567";
const BITS_PER_LETTER = 5;

/** The first `letters` letters of the hash of `text`: 5 bits each, at most 51. */
export function hashLetters(text: string, letters: number): string {
  let encoded = "";
  let held = 0;
  let bits = 0;
  for (const byte of createHash("sha256").update(text).digest()) {
    held = ((held << 8) | byte) & 0xfff; // at most 4 bits are left over from the last byte
    for (bits += 8; bits >= BITS_PER_LETTER; bits -= BITS_PER_LETTER) {
      encoded += alphabet[(held >> (bits - BITS_PER_LETTER)) & 31];
    }
  }
  return encoded.slice(0, letters);
}
