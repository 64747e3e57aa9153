/** What is shown in place of a value that may be secret, and which keys of a map have such values. */

/** Stands for any value that must not be shown. */
export const REDACTED = "[redacted]";

// kubectl keeps the whole manifest, environment included, in last-applied-configuration.
const SECRET_KEY =
  /last-applied-configuration|passw(or)?d|secret|token|credential|private-?_?key|api-?_?key|auth(orization)?$/i;

/** Whether the value of a label, an annotation or a like entry is kept back because of its key. */
export function isSecretKey(key: string): boolean {
  return SECRET_KEY.test(key);
}
