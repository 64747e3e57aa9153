/** What a look at the state can find wrong, as values: for the sweep, which acts on them, and for people, who read them. */
import type { AttachmentRecord } from "../state/attachments.ts";
import type { AttachmentKey } from "../state/paths.ts";

interface Found {
  readonly network: string;
  /** An address, or container and interface, or the name of a file. */
  readonly subject: string;
  /** `namespace/name`; empty where it is not known. */
  readonly pod: string;
  /** A sentence for people. */
  readonly reason: string;
  /** Of what was found. Empty where the file cannot be read. */
  readonly createdAtMs: number | undefined;
}

/** Findings that need more than their text carry what they were made from; `content` is the file as it was read. */
export type Finding = Found &
  (
    | { readonly kind: "dead attachment"; readonly record: AttachmentRecord; readonly content: Buffer }
    | { readonly kind: "unreadable record"; readonly key: AttachmentKey; readonly content: Buffer }
    | { readonly kind: "lease without record"; readonly address: string; readonly content: Buffer }
    | { readonly kind: "unreadable lease"; readonly address: string; readonly content: Buffer }
    /** A pod that lives without a lease of its address: another one could be given it. */
    | { readonly kind: "missing lease"; readonly address: string; readonly record: AttachmentRecord }
    | { readonly kind: "staged file"; readonly name: string }
  );

/** What is done about it: all but the missing lease are removed. */
export function actionOf({ kind }: Pick<Finding, "kind">): "remove" | "repair" {
  return kind === "missing lease" ? "repair" : "remove";
}

/** The same for two looks at the same thing, and another one as soon as its file was replaced. */
export function identityOf(finding: Finding): string {
  // The state byte may change under way: a lease that is committed is another matter.
  const content = "content" in finding ? finding.content.toString("latin1") : "";
  return [finding.network, finding.kind, finding.subject, content].join("\0");
}
