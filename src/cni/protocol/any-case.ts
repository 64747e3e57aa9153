/**
 * Objects whose keys come in any case: containerd sends some capabilities as Go structures without names for JSON, such as
 * `HostPort` for `hostPort`, and plugins in Go do not notice.
 */
import type { JsonObject } from "./problems.ts";

/** The same object with its keys in lower case. Where two keys become one, the one that was in lower case already wins. */
export function anyCase(object: JsonObject): JsonObject {
  const lower = Object.entries(object).map(([key, value]) => [key.toLowerCase(), value] as const);
  const exact = Object.entries(object).filter(([key]) => key === key.toLowerCase());
  return Object.fromEntries([...lower, ...exact]);
}
