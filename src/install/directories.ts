/**
 * The directories that an installation had to make, in one file of the journal, a line each, written before they are made. They go
 * again when nothing is in them any more; one that somebody else uses by then stays, and stays recorded.
 */
import { dirname, join } from "node:path";
import { isKind } from "../errors.ts";
import { ensureDirectory, type Files, replaceFile } from "../host/files.ts";
import { ifThere } from "./state.ts";

const listPath = (journal: string) => join(journal, "directories");

async function readList(files: Files, journal: string): Promise<string[]> {
  const bytes = await ifThere(files.read(listPath(journal)));
  return bytes ? bytes.toString("utf8").split("\n").filter(Boolean) : [];
}

const writeList = (files: Files, journal: string, list: readonly string[]) =>
  replaceFile(files, listPath(journal), Buffer.from(list.map((path) => `${path}\n`).join("")), 0o600);

/** Makes `path` and what is missing above it, mode 0755, and remembers which those were. */
export async function makeDirectory(files: Files, journal: string, path: string): Promise<void> {
  const missing: string[] = [];
  for (let at = path; !(await ifThere(files.stat(at))); at = dirname(at)) missing.unshift(at);
  if (missing.length === 0) return;
  const list = await readList(files, journal);
  const added = missing.filter((directory) => !list.includes(directory));
  if (added.length > 0) await writeList(files, journal, [...list, ...added]);
  await ensureDirectory(files, path, 0o755);
  for (const directory of missing) await files.sync(dirname(directory));
}

/**
 * Takes away those that are empty, or of them only those `above` these paths: what another part made waits for that. Gives the ones
 * that went, and the ones that stay.
 */
export async function removeDirectories(
  files: Files,
  journal: string,
  above?: readonly string[],
): Promise<{ readonly removed: string[]; readonly kept: string[] }> {
  const list = await readList(files, journal);
  const removed: string[] = [];
  const kept: string[] = [];
  const isMeant = (path: string) => !above || above.some((below) => below.startsWith(`${path}/`));
  for (const path of [...list].reverse()) {
    if (isMeant(path) && (await isGone(files, path))) removed.push(path);
    else kept.unshift(path);
  }
  if (kept.length === 0) await ifThere(files.unlink(listPath(journal)));
  else if (removed.length > 0) await writeList(files, journal, kept);
  return { removed, kept };
}

/** Removes a directory if nothing is in it. False where something is. */
export async function isGone(files: Files, path: string): Promise<boolean> {
  const listed = await ifThere(files.list(path));
  if (listed === undefined) return true;
  if (listed.length > 0) return false;
  try {
    await files.rmdir(path);
    await files.sync(dirname(path));
  } catch (error) {
    // Somebody put something there, or took it away, between our two looks; or it is a mount.
    if (isKind(error, "not-found")) return true;
    if (isKind(error, "conflict", "precondition")) return false;
    throw error;
  }
  return true;
}
