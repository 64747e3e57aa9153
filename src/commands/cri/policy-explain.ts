/** `trivet cri policy explain`: which policies are about a call, and what they make of it. */
import { explainCall } from "../../cri/policy/explain.ts";
import { explainRecord } from "../../cri/policy/explain-record.ts";
import { giveCall } from "../../cri/policy/given-call.ts";
import { loadPolicies } from "../../cri/policy/load.ts";
import type { Exemptions } from "../../cri/policy/select.ts";
import { print } from "../print.ts";
import { explanationText, recordText } from "./policy-explanation.ts";
import { readFiles } from "./policy-files.ts";
import { readRecord, readSubject, type SubjectFlags } from "./policy-subject.ts";
import { lookOf } from "./terminal.ts";

export interface ExplainOptions {
  /** Files and directories of policies. */
  readonly policies: readonly string[];
  readonly exemptNamespaces: readonly string[];
  readonly flags: SubjectFlags;
  readonly output: "table" | "json";
}

export async function runExplain({
  policies: paths,
  exemptNamespaces,
  flags,
  output,
}: ExplainOptions): Promise<void> {
  const policies = loadPolicies(await readFiles(paths));
  const exempt: Exemptions = { namespaces: new Set(exemptNamespaces), staticPods: true };
  const record = flags.call === undefined ? undefined : await readRecord(flags.call);
  const look = lookOf(process.stdout, process.env);
  const json = (value: unknown) => print(`${JSON.stringify(value, null, 2)}\n`);
  if (record && flags.request === undefined) {
    const explained = { record, policies: explainRecord(policies, record, exempt) };
    if (output === "json") json({ method: record.method, policies: explained.policies, recorded: record });
    else print(recordText(explained, look));
    return;
  }
  const subject = await readSubject(flags, record);
  const explanation = explainCall(policies, giveCall(subject), { exempt });
  if (output === "table") {
    print(explanationText(subject, explanation, look));
    return;
  }
  const { method, pod, container, image, listener } = subject;
  const { denied, outcomes, changes, message } = explanation.decision;
  json({
    ...{ method, namespace: pod?.namespace, pod: pod?.name, container, image, listener },
    policies: explanation.policies,
    decision: denied ? "Deny" : "Allow",
    ...{ denied, outcomes, changes, changed: message !== undefined },
  });
}
