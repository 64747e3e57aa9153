/**
 * Short notes that outlive an installer, one line of plain text each in `install/marks`: for the next run of an installer, and for the
 * bypass script, which can read nothing else. The script runs the line of `kubelet-restart` as a shell command.
 */
import { join } from "node:path";
import { TrivetError } from "../errors.ts";
import { ensureDirectory, type Files, replaceFile } from "../host/files.ts";
import { isGone } from "./directories.ts";
import { ifThere } from "./state.ts";

export type MarkName = "kubelet-restart" | "kubelet-pending" | "kubelet-wiring" | "kubelet-guard";

const directoryOf = (stateDir: string) => join(stateDir, "install", "marks");

/** Durable when it resolves. Throws kind `invalid` for text of more than one line. */
export async function setMark(
  { files, stateDir }: { readonly files: Files; readonly stateDir: string },
  name: MarkName,
  text: string,
): Promise<void> {
  if (text.includes("\n") || text.includes("\0")) {
    const message = `the mark ${name} must be one line of text`;
    throw new TrivetError({ kind: "invalid", op: "install.mark", subject: name, message });
  }
  const directory = directoryOf(stateDir);
  await ensureDirectory(files, directory, 0o755);
  await replaceFile(files, join(directory, name), Buffer.from(`${text}\n`), 0o600);
}

/** Undefined where it is not set. */
export async function readMark(
  { files, stateDir }: { readonly files: Files; readonly stateDir: string },
  name: MarkName,
): Promise<string | undefined> {
  const bytes = await ifThere(files.read(join(directoryOf(stateDir), name)));
  return bytes?.toString("utf8").replace(/\n$/, "");
}

export async function clearMark(
  { files, stateDir }: { readonly files: Files; readonly stateDir: string },
  name: MarkName,
): Promise<void> {
  const directory = directoryOf(stateDir);
  await ifThere(files.unlink(join(directory, name)));
  // Of a process that was killed while it was setting it.
  await ifThere(files.unlink(join(directory, `.${name}.tmp`)));
  await isGone(files, directory);
}
