/** An explanation as text for people. Texts come from requests as well: nothing in them may move the cursor. */

import type { Explanation } from "../../cri/policy/explain.ts";
import type { RecordedPolicy } from "../../cri/policy/explain-record.ts";
import type { CallDescription } from "../../cri/policy/given-call.ts";
import type { CallRecord, PolicyChange, PolicyOutcome } from "../../cri/record/call-record.ts";
import { formatTable } from "../table.ts";
import { type Look, paint } from "./terminal.ts";

const printable = (text: string) => text.replaceAll(/[\p{Cc}\p{Cf}]/gu, "?");

type Subject = Pick<CallDescription, "method" | "container" | "image"> & {
  readonly pod?: { readonly namespace: string; readonly name: string } | undefined;
};

function subjectLine({ method, pod, container, image }: Subject): string {
  const of = [
    container && `of container ${container}`,
    pod && `in pod ${pod.namespace}/${pod.name}`,
    image && `with image ${image}`,
  ];
  return [method, ...of].filter(Boolean).join(" ");
}

/** What a policy did beyond changing: with what it said. */
function didText(outcomes: readonly PolicyOutcome[], policy: string): string {
  const own = outcomes.filter((outcome) => outcome.policy === policy);
  return own
    .map(({ action, message }) => (message === undefined ? action : `${action}: ${message}`))
    .join("; ");
}

function changesTable(changes: readonly PolicyChange[], title: string): string {
  if (changes.length === 0) return "";
  const rows = changes.map(({ policy, field, outcome, before = "-", after = "-", dryRun }) =>
    [policy, field, dryRun ? `${outcome} (only told)` : outcome, before, after].map(printable),
  );
  return `\n${title}\n${formatTable(["POLICY", "FIELD", "OUTCOME", "BEFORE", "AFTER"], rows)}`;
}

export function explanationText(subject: Subject, { policies, decision }: Explanation, look: Look): string {
  const { changes, outcomes, denied, message } = decision;
  const rows = policies.map(({ policy, matched, reason = "" }, index) =>
    [String(index + 1), policy, matched ? "yes" : "no", matched ? didText(outcomes, policy) : reason].map(
      printable,
    ),
  );
  const fate = denied
    ? paint(printable(`is refused: denied by policy ${denied.policy}: ${denied.message}`), "red", look)
    : message
      ? "goes to the runtime with these changes"
      : "goes to the runtime as it is";
  const table =
    rows.length === 0 ? "There are no policies.\n" : formatTable(["#", "POLICY", "MATCHES", "WHY"], rows);
  return `${printable(subjectLine(subject))}\n\n${table}${changesTable(changes, "Changes, in their order")}\nThe call ${fate}\n`;
}

export interface ExplainedRecord {
  readonly record: CallRecord;
  readonly policies: readonly RecordedPolicy[];
}

export function recordText({ record, policies }: ExplainedRecord, look: Look): string {
  const {
    method,
    namespace = "",
    pod,
    container,
    image,
    changes = [],
    policies: outcomes = [],
    denied,
    status,
    time,
  } = record;
  const subject = { method, container, image, pod: pod === undefined ? undefined : { namespace, name: pod } };
  const rows = policies.map(({ policy, matched, reason = "" }, index) => {
    const did = didText(outcomes, policy);
    return [String(index + 1), policy, matched, did === "" ? reason : did].map(printable);
  });
  const known = new Set(policies.map(({ policy }) => policy));
  const gone = [...new Set(outcomes.map(({ policy }) => policy))].filter((policy) => !known.has(policy));
  const table =
    rows.length === 0 ? "There are no policies.\n" : formatTable(["#", "POLICY", "MATCHES", "WHY"], rows);
  const notes = [
    "The record holds no request: labels, the runtime handler and expressions cannot be looked at, and a pod counts as no",
    "static one. Give the request with --request to see what the policies of now would make of it.",
    ...(gone.length > 0 ? [`Policies of then that are not there now: ${printable(gone.join(", "))}.`] : []),
  ];
  const then = denied
    ? paint(printable(`denied by policy ${denied.policy}: ${denied.message}`), "red", look)
    : printable(status);
  return `${printable(subjectLine(subject))}\n\n${table}${changesTable(changes, "Changes that were made then")}\nThe call ended at ${printable(String(time))} with ${then}\n\n${notes.join("\n")}\n`;
}
