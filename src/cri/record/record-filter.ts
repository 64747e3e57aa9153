/**
 * Which records are kept: by the class of the method, with samples of what is asked again and again. What failed, what was
 * slow and what a policy touched is kept whole; a sample says how many calls it stands for, so that sums stay right.
 */
import { type CallRecord, wentWell } from "./call-record.ts";
import { type MethodClass, methodClass, methodClasses } from "./method-class.ts";
import { createMethodLabels } from "./method-labels.ts";

/**
 * `off`: nothing but what a policy touched. `errors`: also what failed or was slow. `{ every }`: also each so manieth call
 * of a method that went well. `all`: everything.
 */
export type RecordLevel = "off" | "errors" | "all" | { readonly every: number };

export type RecordLevels = Readonly<Record<MethodClass, RecordLevel>>;

/**
 * For a full node, which asks for a status 22 times and for a list 4 times a second, and runs some ten probes: about one
 * line a second, and all that happened to a pod.
 */
export const defaultRecordLevels: RecordLevels = {
  change: "all",
  exec: "all",
  image: "all",
  probe: { every: 10 },
  status: { every: 100 },
  poll: { every: 100 },
  other: "all",
};

const MAX_EVERY = 1_000_000;

function parseLevel(text: string): RecordLevel | undefined {
  if (text === "off" || text === "errors" || text === "all") return text;
  const [, digits] = /^1:([1-9]\d{0,6})$/.exec(text) ?? [];
  const every = Number(digits);
  return digits !== undefined && every <= MAX_EVERY ? { every } : undefined;
}

/** `poll=1:50` as a class and its level; undefined for what is none. */
export function parseRecordLevel(text: string): { name: MethodClass; level: RecordLevel } | undefined {
  const [, key, value = ""] = /^(\w+)=(.*)$/.exec(text) ?? [];
  const name = methodClasses.find((known) => known === key);
  const level = parseLevel(value);
  return name && level ? { name, level } : undefined;
}

/** The other way round: `poll=1:50`. */
export function formatRecordLevels(levels: RecordLevels): string[] {
  return methodClasses.map((name) => {
    const level = levels[name];
    return `${name}=${typeof level === "string" ? level : `1:${level.every}`}`;
  });
}

export interface RecordFilterOptions {
  readonly levels: RecordLevels;
  /** A call that takes so long is kept as one that failed is. */
  readonly slowMs: number;
}

/** Gives what is to be written of a record: it, it as a sample, or nothing. */
export function createRecordFilter({
  levels,
  slowMs,
}: RecordFilterOptions): (record: CallRecord) => CallRecord | undefined {
  const labelOf = createMethodLabels();
  const counts = new Map<string, number>();
  return (record) => {
    const level = levels[methodClass(record.method)];
    if (level === "all" || isTouched(record)) return record;
    if (level === "off") return undefined;
    if (!wentWell(record) || record.totalMs >= slowMs) return record;
    if (level === "errors") return undefined;
    // Of each method by itself: a rare one is not to vanish behind a frequent one.
    const label = labelOf(record.method);
    const leftOut = counts.get(label);
    const full = leftOut === level.every - 1;
    counts.set(label, leftOut === undefined || full ? 0 : leftOut + 1);
    // The first one is written for itself: of a method that is called once, there is to be one call.
    if (leftOut === undefined) return record;
    return full ? { ...record, sample: level.every } : undefined;
  };
}

function isTouched({ policies, denied, changes, policyError }: CallRecord): boolean {
  return !!(policies?.length || changes?.length || denied || policyError !== undefined);
}
