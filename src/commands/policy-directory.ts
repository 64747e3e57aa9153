/** Reads the policy files of a directory, in the order of their names. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type PolicySource, parsePolicies, type RuntimePolicy } from "../cri/policy/schema.ts";
import { TrivetError } from "../errors.ts";
import { fromNodeError } from "../host/errno.ts";

/** All or nothing: an unreadable directory or one bad file is an error of kind `invalid` with every problem. */
export async function readPolicyDirectory(directory: string): Promise<RuntimePolicy[]> {
  const problems: string[] = [];
  const note = (error: unknown, path: string) => {
    problems.push(fromNodeError(error, "policy.read", path).message);
  };
  const names = await readdir(directory).catch((error: unknown) => {
    note(error, directory);
    return [];
  });
  const sources: PolicySource[] = [];
  for (const file of names.filter((name) => /^[^.].*\.ya?ml$/.test(name)).sort()) {
    const path = join(directory, file);
    const text = await readFile(path, "utf8").catch((error: unknown) => note(error, path));
    if (text !== undefined) sources.push({ file, text });
  }
  if (problems.length === 0) return parsePolicies(sources);
  throw new TrivetError({
    kind: "invalid",
    op: "policy.read",
    subject: directory,
    message: `the policies cannot be read:\n${problems.map((problem) => `  ${problem}`).join("\n")}`,
  });
}
