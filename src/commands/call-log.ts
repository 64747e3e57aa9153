/** Where the records of CRI calls go: a file or stdout, every call a line; or the process's log, at levels. */
import { pino } from "pino";
import type { Change } from "../cri/policy/apply.ts";
import { type CallRecord, recordLevel } from "../cri/record/call-record.ts";
import type { Log } from "../observe/log.ts";

export interface CallLog {
  write(record: CallRecord): void;
  close(): Promise<void>;
}

const STDOUT = 1;
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

function toDestination(destination: ReturnType<typeof pino.destination>): CallLog {
  return {
    write: (record) => {
      destination.write(`${JSON.stringify(record)}\n`);
    },
    close: async () => {
      destination.flushSync();
    },
  };
}

/** `target` is a path, `-` for stdout, or undefined for the log. */
export function openCallLog(target: string | undefined, log: Log): CallLog {
  if (target === undefined) return toLog(log);
  const destination = pino.destination(
    target === "-"
      ? { fd: STDOUT, sync: false }
      : { dest: target, append: true, mkdir: true, mode: FILE_MODE, sync: false },
  );
  destination.on("error", (error: Error) =>
    log.error("the call log cannot be written", { error: error.message }),
  );
  return toDestination(destination);
}
