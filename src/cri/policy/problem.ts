/** What is wrong in a file of policies or of their tests: where it stands, and what it is, in words and without values. */

export interface PolicyProblem {
  readonly file: string;
  /** Its place in the file, from 1. */
  readonly document: number;
  /** Of the field, such as `spec.methods.0`; empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
}

/** Where a document stands, for people: `10-a.yaml`, `10-a.yaml (document 2)`. */
export function placeText({ file, document }: Pick<PolicyProblem, "file" | "document">): string {
  return document === 1 ? file : `${file} (document ${document})`;
}

export function problemText(problem: PolicyProblem): string {
  const { path, message } = problem;
  return `${placeText(problem)}: ${path === "" ? "" : `${path}: `}${message}`;
}

/** A problem from a text that begins with the field's path, as the parts below write it. */
export function splitProblem(text: string): Pick<PolicyProblem, "path" | "message"> {
  const colon = text.indexOf(": ");
  return colon < 0
    ? { path: "", message: text }
    : { path: text.slice(0, colon), message: text.slice(colon + 2) };
}
