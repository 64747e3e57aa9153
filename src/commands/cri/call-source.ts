/** Where the verbs that look at calls find them: the call log's files, or stdin. */
import type { CriConfig } from "../../config/cri.ts";
import type { CallRecord } from "../../cri/record/call-record.ts";
import { TrivetError } from "../../errors.ts";
import { fromNodeError } from "../../host/errno.ts";
import { type ReadLinesOptions, readLines } from "../../observe/line-reader.ts";

/** What the documentation and the unit write to. */
const USUAL_FILE = "/var/log/trivet/calls.jsonl";

export interface CallSource {
  /** A path, or `-` for stdin. */
  readonly file: string;
  /** Records in the order of the log, some at a time; none, once, when all that was there is read and more is waited for. */
  read(options: ReadLinesOptions): AsyncGenerator<CallRecord[]>;
  /** Lines that were no records. */
  readonly unreadable: () => number;
}

/** `file` goes over the settings of the proxy. */
export function createCallSource(file: string | undefined, config: CriConfig): CallSource {
  const path = file ?? (config.callLog === "-" ? undefined : config.callLog) ?? USUAL_FILE;
  let unreadable = 0;
  async function* read(options: ReadLinesOptions): AsyncGenerator<CallRecord[]> {
    try {
      for await (const lines of path === "-" ? stdinLines() : readLines(path, options)) {
        const records = lines.flatMap((line) => {
          const record = parse(line);
          if (!record && line !== "") unreadable += 1;
          return record ?? [];
        });
        if (records.length > 0 || lines.length === 0) yield records;
      }
    } catch (error) {
      throw explain(error, path, { named: file !== undefined || config.callLog !== undefined, config });
    }
  }
  return { file: path, read, unreadable: () => unreadable };
}

async function* stdinLines(): AsyncGenerator<string[]> {
  // The daemon shares this file with the verbs, and never needs it.
  const { createInterface } = await import("node:readline");
  for await (const line of createInterface({ input: process.stdin })) yield [line];
}

type Field = readonly [name: keyof CallRecord, is: (value: unknown) => boolean];
const isText = (value: unknown) => typeof value === "string";
const isNumber = (value: unknown) => typeof value === "number";
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null;
const isSaid = (value: unknown) => isObject(value) && isText(value.policy);
const areSaid = (value: unknown) => Array.isArray(value) && value.every(isSaid);

const names = ["namespace", "pod", "podUid", "container", "image", "sandboxId", "containerId"] as const;
/** What every version writes. */
const required: readonly Field[] = [
  ...(["time", "method", "status"] as const).map((name): Field => [name, isText]),
  ["totalMs", isNumber],
];
/** What is shown of the rest, where it is there. */
const optional: readonly Field[] = [
  ...([...names, "listener", "policyError"] as const).map((name): Field => [name, isText]),
  ...(["runtimeMs", "oursMs", "heldMs"] as const).map((name): Field => [name, isNumber]),
  ["sample", (value) => Number.isInteger(value) && Number(value) > 0],
  ["policies", areSaid],
  ["changes", areSaid],
  ["denied", (value) => isSaid(value) && isObject(value) && isText(value.message)],
];

function isRecord(value: unknown): value is CallRecord {
  if (!isObject(value)) return false;
  return (
    required.every(([name, is]) => is(value[name])) &&
    optional.every(([name, is]) => value[name] === undefined || is(value[name]))
  );
}

/** A record of any version. */
function parse(line: string): CallRecord | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    const value: unknown = JSON.parse(line);
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function explain(
  error: unknown,
  path: string,
  { named, config }: { named: boolean; config: CriConfig },
): TrivetError {
  const failure = fromNodeError(error, "calls.read", path);
  if (failure.kind !== "not-found") return failure;
  if (config.callLog === "-") return toStdout(error, path);
  const hint = named
    ? "is the proxy running, and does it write there? Name another file with --file"
    : `start the proxy with --call-log ${USUAL_FILE} (cri.callLog in its settings), or name its file with --file or its settings with --config`;
  return new TrivetError({
    kind: "not-found",
    op: "calls.read",
    subject: path,
    message: `there is no call log at ${path}: ${hint}`,
    cause: error,
  });
}

/** The settings say stdout: only whoever started the proxy knows where that goes. */
function toStdout(cause: unknown, path: string): TrivetError {
  const message =
    "the proxy writes its call log to stdout (cri.callLog is -): hand that over with --file -, such as " +
    "'journalctl -o cat -u trivet-cri | trivet cri calls --file -'";
  return new TrivetError({ kind: "not-found", op: "calls.read", subject: path, message, cause });
}

/** Told after the rest, where some lines could not be read. */
export function unreadableNote(source: CallSource): string {
  const count = source.unreadable();
  return count > 0
    ? `${count} line${count === 1 ? "" : "s"} of ${source.file} could not be read as records\n`
    : "";
}
