/** The kinds of value that parameters have. Each says what it should look like. All of them arrive as text. Pure. */
import { invalid } from "./refusal.ts";

const ID_MAX = 0xffff_fffe;
const unitSeconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** `true` or `false`. */
export function yesNo(field: string, text: string): boolean {
  if (text === "true" || text === "false") return text === "true";
  throw invalid(field, `is "${text}": give "true" or "false"`);
}

/** Permission bits in octal. YAML takes 0755 without quotes for another number, so that it never looks like this. */
export function mode(field: string, text: string): number {
  if (/^0?[0-7]{3,4}$/.test(text)) return Number.parseInt(text, 8);
  throw invalid(field, `is "${text}": give three or four octal digits in quotes, such as "0770"`);
}

/** The number of a user or a group. */
export function ownerId(field: string, text: string): number {
  const id = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (id <= ID_MAX) return id;
  throw invalid(field, `is "${text}": give a number from 0 to ${ID_MAX}`);
}

/** Whole seconds, from `90s`, `30m`, `12h` or `7d`. */
export function duration(field: string, text: string): number {
  const [, number, unit = ""] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  const seconds = Number(number) * (unitSeconds[unit] ?? Number.NaN);
  if (Number.isSafeInteger(seconds)) return seconds;
  throw invalid(field, `is "${text}": give a duration such as 90s, 30m, 12h or 7d`);
}

/** A limit that leaves room for the top directory. */
export function inodeCount(field: string, text: string): number {
  const count = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (count >= 2) return count;
  throw invalid(field, `is "${text}": give a number of files and directories, at least 2`);
}
