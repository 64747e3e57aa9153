/**
 * What mutations did, for records and dry runs. Values become text here, and what must not be shown is left out before
 * the text exists; texts and their number are bounded, whatever the message holds.
 */
import type { Field } from "./descriptors.ts";
import { FieldWalk } from "./fields.ts";
import { jsonText, PlainReader, type PlainValue } from "./read.ts";
import { REDACTED } from "./redaction.ts";

/** What became of one field. */
export interface FieldChange {
  /** Such as `config.envs[HTTP_PROXY]`. */
  readonly field: string;
  /** `kept`: it was there already, or was what it should be. */
  readonly outcome: "added" | "changed" | "removed" | "kept";
  /** JSON, redacted and bounded: as it was. */
  readonly before?: string;
  /** JSON, redacted and bounded: as it is now. */
  readonly after?: string;
}

const MAX_TEXT = 2048;
const MAX_CHANGES = 256;

/** Reads for people. */
export const shownReader = new PlainReader({ redact: true, maxItems: 32, maxText: 256 });

/** A value as JSON; what is too long becomes JSON text that holds its beginning. */
export function shownText(value: PlainValue): string {
  const text = jsonText(value);
  return text.length <= MAX_TEXT ? text : JSON.stringify(`${text.slice(0, MAX_TEXT / 2)}…`);
}

/** One value of `field` (an element, of a list) as it is shown. */
export function shownValue(field: Field | undefined, bytes: Buffer): string {
  return field ? shownText(shownReader.value(field, bytes)) : JSON.stringify(REDACTED);
}

/** All that `message` holds of a field; undefined where it holds nothing. What we do not know is not shown. */
export function shownField(field: Field | undefined, number: number, message: Buffer): string | undefined {
  if (field) {
    const value = shownReader.field(field, message);
    return value === undefined ? undefined : shownText(value);
  }
  const walk = new FieldWalk(message);
  while (walk.next()) if (walk.number === number) return JSON.stringify(REDACTED);
  return undefined;
}

/** Takes down what is done. */
export class ChangeList {
  readonly changes: FieldChange[] = [];
  #more = 0;

  add(
    field: string,
    outcome: FieldChange["outcome"],
    { before, after }: { before?: string | undefined; after?: string | undefined } = {},
  ): void {
    if (this.changes.length >= MAX_CHANGES) {
      this.#more += 1;
      return;
    }
    const change = { field, outcome };
    this.changes.push({
      ...change,
      ...(before !== undefined && { before }),
      ...(after !== undefined && { after }),
    });
  }

  /** Whether what is added is still kept: a text that is not kept need not be made. */
  get open(): boolean {
    return this.changes.length < MAX_CHANGES;
  }

  /** All changes; where there were too many, the last one says how many are left out. */
  finish(): FieldChange[] {
    if (this.#more === 0) return this.changes;
    return [...this.changes, { field: `and ${this.#more} more`, outcome: "changed" }];
  }
}
