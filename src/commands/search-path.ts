/** Where verbs that an administrator, a pod or a service manager starts look for programs. */
import { delimiter } from "node:path";

/** The administrator's directories among them, which the PATH of a service or of an image may lack. */
export const usualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** The process's own PATH, then the usual directories, then others. An empty PATH adds nothing: it would mean the current directory. */
export function searchPath(...others: readonly string[]): string {
  return [process.env.PATH, usualPath, ...others].filter(Boolean).join(delimiter);
}
