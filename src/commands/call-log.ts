/** Where the records of CRI calls go: a file or stdout, a line each; or the process's log, at levels. */
import {
  type CallRecord,
  type PolicyChange,
  type PolicyOutcome,
  recordLevel,
} from "../cri/record/call-record.ts";
import { createRecordFilter, type RecordLevels } from "../cri/record/record-filter.ts";
import type { Rotation } from "../observe/appended-file.ts";
import { openLineFile } from "../observe/line-file.ts";
import type { Log, LogFields } from "../observe/log.ts";

export interface CallLog {
  /** Never waits and never throws: a record is not worth a call. */
  write(record: CallRecord): void;
  /** Resolves when what was written is in the file. */
  close(): Promise<void>;
}

export interface CallLogOptions {
  /** A path, `-` for stdout, or undefined for the process's log. */
  readonly target: string | undefined;
  readonly levels: RecordLevels;
  readonly slowMs: number;
  readonly rotation: Rotation;
  readonly log: Log;
  /** Told of records that could not be written. */
  readonly onLost?: (records: number) => void;
}

// Pods' names and images: for root and the group that reads logs, like other logs of calls.
const FILE_MODE = 0o640;

/** `config.envs[HTTP_PROXY] added by proxy-environment`. */
function describeChange({ policy, field, outcome }: PolicyChange): string {
  return outcome === "kept" ? `${field} kept, wanted by ${policy}` : `${field} ${outcome} by ${policy}`;
}

/** `denied by no-exec: not in this namespace`. */
function describeOutcome({ policy, action, message }: PolicyOutcome): string {
  return `${action} by ${policy}${message ? `: ${message}` : ""}`;
}

function toFields(record: CallRecord): LogFields {
  // The log's lines have a time of their own, and an outcome says what was denied.
  const { time: _, denied, policies, changes, ...rest } = record;
  return {
    ...rest,
    ...(denied && { denied: `by ${denied.policy}: ${denied.message}` }),
    ...(policies && { policies: policies.map(describeOutcome) }),
    ...(changes && { changes: changes.map(describeChange) }),
  };
}

/** Polls at `debug`, in full: whoever asks for that level wants to see them. */
function toLog(log: Log): CallLog {
  return {
    write: (record) => log[recordLevel(record)]("call", toFields(record)),
    close: async () => undefined,
  };
}

/** Throws for a file that cannot be opened. */
export async function openCallLog(options: CallLogOptions): Promise<CallLog> {
  const { target, log, rotation, onLost } = options;
  if (target === undefined) return toLog(log);
  const keep = createRecordFilter(options);
  const lines = await openLineFile({
    target,
    mode: FILE_MODE,
    rotation,
    log: log.child({ file: "call log" }),
    ...(onLost && { onLost }),
  });
  return {
    write(record) {
      const kept = keep(record);
      if (kept) lines.write(JSON.stringify(kept));
    },
    close: lines.close.bind(lines),
  };
}
