/** The files that the verbs about policies are given: policies, and the tests beside them. */
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { CriConfig } from "../../config/cri.ts";
import type { PolicySource } from "../../cri/policy/load.ts";
import { TrivetError } from "../../errors.ts";
import { fromNodeError } from "../../host/errno.ts";
import { policyFileName } from "../policy-directory.ts";

/** What files of tests are called. The proxy passes over them. */
export const testFileName: RegExp = /^[^.].*\.test\.ya?ml$/;
export { policyFileName } from "../policy-directory.ts";

/** The largest file that is read: a policy that is larger is none. */
const MAX_FILE_BYTES = 8 << 20;

export function invalidPolicyFile(subject: string, message: string, cause?: unknown): TrivetError {
  return new TrivetError({ kind: "invalid", op: "policy.read", subject, message, cause });
}

async function readOne(file: string): Promise<PolicySource> {
  try {
    const found = await stat(file);
    // A pipe is fine, such as the shell's <(...); a device may never end.
    if (found.isCharacterDevice() || found.isBlockDevice())
      throw invalidPolicyFile(file, `${file}: is a device, not a file`);
    if (found.size > MAX_FILE_BYTES)
      throw invalidPolicyFile(file, `${file}: is larger than ${MAX_FILE_BYTES} bytes`);
    return { file, text: await readFile(file, "utf8") };
  } catch (error) {
    throw error instanceof TrivetError
      ? error
      : invalidPolicyFile(file, fromNodeError(error, "policy.read", file).message, error);
  }
}

async function namesIn(path: string, wanted: RegExp): Promise<string[] | undefined> {
  try {
    const names = await readdir(path);
    return names.filter((name) => wanted.test(name)).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOTDIR") return undefined;
    throw invalidPolicyFile(path, fromNodeError(error, "policy.read", path).message, error);
  }
}

/**
 * The texts of files, and of those in directories whose names are wanted, in the order of the paths and then of the names.
 * Each file once. A path that cannot be read is an error of kind `invalid`.
 */
export async function readFiles(
  paths: readonly string[],
  wanted: RegExp = policyFileName,
): Promise<PolicySource[]> {
  const files = new Set<string>();
  for (const path of paths) {
    const names = await namesIn(path, wanted);
    for (const file of names ? names.map((name) => join(path, name)) : [path]) files.add(file);
  }
  return Promise.all([...files].map(readOne));
}

/** The paths that were given, or else the policy directory of the proxy's settings. */
export function pathsOrSettings(
  paths: readonly string[],
  { policyDir }: CriConfig,
  how: string,
): readonly string[] {
  if (paths.length > 0) return paths;
  if (policyDir !== undefined) return [policyDir];
  throw invalidPolicyFile(
    "policies",
    `there is nothing to look at: ${how}, or the proxy's settings with --config`,
  );
}

/** Text of stdin, of which there is as much as of a file at most. */
export async function readStdin(): Promise<PolicySource> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_FILE_BYTES)
      throw invalidPolicyFile("stdin", `stdin: is larger than ${MAX_FILE_BYTES} bytes`);
    chunks.push(chunk);
  }
  return { file: "stdin", text: Buffer.concat(chunks).toString("utf8") };
}

/** A file, or `-` for stdin. */
export function readFileOrStdin(path: string): Promise<PolicySource> {
  return path === "-" ? readStdin() : readOne(path);
}
