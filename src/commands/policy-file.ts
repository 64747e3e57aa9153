/**
 * One file of policies as text. What cannot be policies is refused before it is read: a pipe would wait for a writer for
 * ever, a device has no end, and letters of another encoding would turn into ones that match nothing.
 */
import { isUtf8 } from "node:buffer";
import { constants, type FileHandle, open, stat } from "node:fs/promises";
import { TrivetError } from "../errors.ts";

/** Of one file, in bytes: more than any set of policies that people can read. */
export const maxPolicyFile: number = 4 << 20;

export interface PolicyFileText {
  readonly text: string;
  /** Tells this content from a later one, together with the path. See `stampOf`. */
  readonly stamp: string;
}

function unusable(path: string, why: string): TrivetError {
  return new TrivetError({
    kind: "invalid",
    op: "policy.read",
    subject: path,
    message: `policy.read failed on ${path}: ${why}`,
  });
}

/** Rejects with `invalid` or the error of the file system, whose messages name the path. */
export async function readPolicyFile(path: string): Promise<PolicyFileText> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const before = await handle.stat();
    if (!before.isFile() && !before.isDirectory()) throw unusable(path, "is no plain file");
    if (before.size > maxPolicyFile) throw tooLarge(path);
    return { text: await readText(handle, path), stamp: stampText(before) };
  } finally {
    await handle.close();
  }
}

async function readText(handle: FileHandle, path: string): Promise<string> {
  const bytes = await handle.readFile();
  if (bytes.length > maxPolicyFile) throw tooLarge(path); // it has grown, or is one that has no size
  if (!isUtf8(bytes)) throw unusable(path, "is not in UTF-8: save it as UTF-8");
  return bytes.toString("utf8");
}

function tooLarge(path: string): TrivetError {
  return unusable(path, `is larger than ${maxPolicyFile} bytes: write the policies in several files`);
}

/** What `path` leads to now; undefined where that is nothing. */
export async function stampOf(path: string): Promise<string | undefined> {
  return stat(path).then(stampText, () => undefined);
}

function stampText({
  dev,
  ino,
  size,
  mtimeMs,
}: {
  dev: number;
  ino: number;
  size: number;
  mtimeMs: number;
}): string {
  return `${dev}:${ino}:${size}:${mtimeMs}`;
}
