/** The call that `trivet cri policy explain` is asked about: from flags, a request, or a record. */

import { readValue } from "../../cri/policy/documents.ts";
import type { CallDescription, GivenPod } from "../../cri/policy/given-call.ts";
import { policiesError } from "../../cri/policy/load.ts";
import type { PolicyProblem } from "../../cri/policy/problem.ts";
import type { CallRecord } from "../../cri/record/call-record.ts";
import { invalidPolicyFile, readFileOrStdin, readStdin } from "./policy-files.ts";

export interface SubjectFlags {
  readonly call?: string;
  readonly request?: string;
  readonly method?: string;
  readonly pod?: string;
  readonly uid?: string;
  readonly label?: readonly string[];
  readonly annotation?: readonly string[];
  readonly runtimeHandler?: string;
  readonly static?: boolean;
  readonly container?: string;
  readonly image?: string;
  readonly listener?: string;
}

function invalid(flag: string, message: string): Error {
  return invalidPolicyFile(flag, `${flag}: ${message}`);
}

/** `NAMESPACE/NAME`, or a name in `default`. */
function parsePod(text: string): { readonly namespace: string; readonly name: string } {
  const [first = "", second, ...more] = text.split("/");
  const [namespace, name] = second === undefined ? ["default", first] : [first, second];
  if (more.length > 0 || namespace === "" || name === "") throw invalid("--pod", "must be NAMESPACE/NAME");
  return { namespace, name };
}

function parsePairs(flag: string, pairs: readonly string[] | undefined): Record<string, string> | undefined {
  return (
    pairs &&
    Object.fromEntries(
      pairs.map((pair) => {
        const at = pair.indexOf("=");
        if (at < 1) throw invalid(flag, "must be KEY=VALUE");
        return [pair.slice(0, at), pair.slice(at + 1)];
      }),
    )
  );
}

/** The record that was handed over: as a line, or on stdin. What it says may be secret: it is not quoted. */
export async function readRecord(call: string): Promise<CallRecord> {
  const text = call === "-" ? (await readStdin()).text : call;
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  if (lines.length !== 1)
    throw invalid(
      "--call",
      `takes one line of the call log, not ${lines.length}: choose one, as with 'trivet cri calls -n 1 -o json'`,
    );
  try {
    const value: unknown = JSON.parse(lines[0] ?? "");
    const record = value as CallRecord;
    if (typeof record?.method === "string" && typeof record.status === "string") return record;
  } catch {
    // told below
  }
  throw invalid("--call", "is no line of the call log: JSON with method and status");
}

async function readRequest(path: string): Promise<unknown> {
  const problems: PolicyProblem[] = [];
  const value = readValue(await readFileOrStdin(path), problems);
  if (problems.length > 0) throw policiesError(problems, "the request cannot be read");
  return value;
}

function podOf(flags: SubjectFlags, record: CallRecord | undefined): GivenPod | undefined {
  const recorded =
    record?.pod === undefined ? undefined : { namespace: record.namespace ?? "", name: record.pod };
  const named = flags.pod === undefined ? recorded : parsePod(flags.pod);
  const rest = {
    uid: flags.uid ?? record?.podUid,
    labels: parsePairs("--label", flags.label),
    annotations: parsePairs("--annotation", flags.annotation),
    runtimeHandler: flags.runtimeHandler,
    isStatic: flags.static,
  };
  if (named) return { ...named, ...rest };
  const given = Object.entries(rest).find(([, value]) => value !== undefined);
  if (given) throw invalid("--pod", "is needed with flags that say more about the pod");
  return undefined;
}

/** What was given, as far as it goes; a record's facts are those that no flag says otherwise. */
export async function readSubject(
  flags: SubjectFlags,
  record: CallRecord | undefined,
): Promise<CallDescription> {
  const method = flags.method ?? record?.method;
  if (method === undefined) throw invalid("--method", "is needed: which call is it?");
  if (flags.call === "-" && flags.request === "-")
    throw invalid("--request", "only one of --call and --request can be -");
  return {
    method,
    pod: podOf(flags, record),
    container: flags.container ?? record?.container,
    image: flags.image ?? record?.image,
    listener: flags.listener ?? record?.listener,
    ...(flags.request !== undefined && { request: await readRequest(flags.request) }),
  };
}
