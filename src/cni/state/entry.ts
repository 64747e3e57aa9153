/**
 * The content of a lease or an attachment record: a state byte at offset 0, a space, and one line of JSON. The byte can be
 * changed in place, in one write, while the rest stays.
 */

/** `pending` while ADD is under way, `committed` once it has succeeded. */
export type EntryState = "pending" | "committed";

const byteOf = { pending: "p", committed: "c" } as const;
/** For writing at offset 0. */
export const committedByte = Buffer.from(byteOf.committed);

/** A decoded file. */
export interface Entry {
  readonly state: EntryState;
  readonly value: Readonly<Record<string, unknown>>;
}

/** `value` must be JSON. */
export function encodeEntry(state: EntryState, value: object): Buffer {
  return Buffer.from(`${byteOf[state]} ${JSON.stringify(value)}\n`);
}

/** Undefined for bytes that `encodeEntry` did not make. */
export function decodeEntry(bytes: Buffer): Entry | undefined {
  const text = bytes.toString("utf8");
  const state = text.startsWith("c ") ? "committed" : text.startsWith("p ") ? "pending" : undefined;
  if (!state) return undefined;
  try {
    const value: unknown = JSON.parse(text.slice(2));
    if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
    return { state, value: value as Record<string, unknown> };
  } catch {
    return undefined;
  }
}

/** A field of an entry that should be a text; empty if it is not. */
export function textField(value: Readonly<Record<string, unknown>>, key: string): string {
  const field = value[key];
  return typeof field === "string" ? field : "";
}
