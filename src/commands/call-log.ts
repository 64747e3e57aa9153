/** Where the records of CRI calls go: a file or stdout, every call a line; or the process's log, at levels. */
import type { Change } from "../cri/policy/apply.ts";
import { type CallRecord, recordLevel } from "../cri/record/call-record.ts";
import { openLineFile } from "../observe/line-file.ts";
import type { Log } from "../observe/log.ts";

export interface CallLog {
  /** Never waits and never throws: a record is not worth a call. */
  write(record: CallRecord): void;
  /** Resolves when what was written is in the file. */
  close(): Promise<void>;
}

// Pods' names and images: for root and the group that reads logs, like other logs of calls.
const FILE_MODE = 0o640;

/** `config.envs[HTTP_PROXY] added by proxy-environment`. */
function describeChange({ policy, field, outcome }: Change): string {
  return outcome === "added" ? `${field} added by ${policy}` : `${field} kept, wanted by ${policy}`;
}

function toLog(log: Log): CallLog {
  return {
    write(record) {
      const { time: _, changes, ...rest } = record; // the log's lines have a time of their own
      log[recordLevel(record)]("call", { ...rest, ...(changes && { changes: changes.map(describeChange) }) });
    },
    close: async () => undefined,
  };
}

/** `target` is a path, `-` for stdout, or undefined for the log. Throws for a file that cannot be opened. */
export async function openCallLog(target: string | undefined, log: Log): Promise<CallLog> {
  if (target === undefined) return toLog(log);
  const lines = await openLineFile({ target, mode: FILE_MODE, log: log.child({ file: "call log" }) });
  return { write: (record) => lines.write(JSON.stringify(record)), close: lines.close.bind(lines) };
}
