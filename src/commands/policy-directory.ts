/** Reads the policy files of a directory, in the order of their names. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { parsePolicies, type RuntimePolicy } from "../cri/policy/schema.ts";
import { TrivetError } from "../errors.ts";
import { fromNodeError } from "../host/errno.ts";

/** All or nothing: an unreadable directory or one bad file is an error of kind `invalid` with every problem. */
export async function readPolicyDirectory(directory: string): Promise<RuntimePolicy[]> {
  try {
    const files = (await readdir(directory)).filter((name) => /^[^.].*\.ya?ml$/.test(name)).sort();
    const sources = await Promise.all(
      files.map(async (file) => ({ file, text: await readFile(join(directory, file), "utf8") })),
    );
    return parsePolicies(sources);
  } catch (error) {
    if (error instanceof TrivetError) throw error;
    const { message } = fromNodeError(error, "policy.read", directory);
    const text = `the policies cannot be read: ${message}`;
    throw new TrivetError({
      kind: "invalid",
      op: "policy.read",
      subject: directory,
      message: text,
      cause: error,
    });
  }
}
