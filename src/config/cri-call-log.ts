/** The settings of the call log of `trivet cri`. */
import * as v from "valibot";
import { defaultRecordLevels, parseRecordLevel, type RecordLevels } from "../cri/record/record-filter.ts";
import { text, wholeNumber } from "./values.ts";

/** For a small disk: five files of so much are some 500,000 calls. */
const DEFAULT_MEBIBYTES = 32;
const DEFAULT_KEEP = 4;
const DEFAULT_SLOW_MS = 1_000;

const level = v.pipe(
  text,
  v.check(
    (value) => parseRecordLevel(value) !== undefined,
    "must be CLASS=LEVEL: one of change, exec, image, probe, status, poll, other, and one of off, errors, 1:N, all",
  ),
);

/** A list such as `[poll=1:50, exec=all]`, over the defaults. */
const levels = v.pipe(
  v.array(level, "must be a list such as [poll=1:50, exec=all]"),
  v.transform((items): RecordLevels => {
    const given = items.flatMap((item) => parseRecordLevel(item) ?? []);
    return { ...defaultRecordLevels, ...Object.fromEntries(given.map((found) => [found.name, found.level])) };
  }),
);

export const callLogEntries = {
  /** A file, or `-` for stdout. Without it the calls go to the log, at a level each. */
  callLog: v.optional(
    v.pipe(
      text,
      v.check((value) => value === "-" || value.startsWith("/"), "must be an absolute path, or - for stdout"),
    ),
  ),
  /** Which calls the call log keeps, by the class of their method. */
  callLogLevels: v.optional(levels, []),
  /** A call that takes so long is kept whatever its class. */
  callLogSlowMs: v.optional(wholeNumber({ min: 1, max: 3_600_000 }), DEFAULT_SLOW_MS),
  /** The call log's file is put aside when it is so large, */
  callLogMaxMebibytes: v.optional(wholeNumber({ min: 1, max: 1_048_576 }), DEFAULT_MEBIBYTES),
  /** and so many of them are kept beside it. */
  callLogKeep: v.optional(wholeNumber({ min: 1, max: 1_000 }), DEFAULT_KEEP),
};
