/**
 * Puts the plugin's files in place and takes them away again. Each is written beside its name and renamed: containerd notices that and
 * no other way, and a program that runs is not written to. What has the right bytes already is left alone, since each change
 * of a configuration stops all network calls of containerd for a moment. A record says what was written, so that only that is removed.
 */
import { createHash } from "node:crypto";
import { basename, dirname, join } from "node:path";
import { TrivetError } from "../../errors.ts";
import { ensureDirectory, type Files, replaceFile } from "../../host/files.ts";
import { isObject } from "../protocol/problems.ts";
import { nullIfAbsent } from "../state/guard.ts";

/** A file to be there. */
export interface WantedFile {
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly mode: number;
}

/** What became of it, or would: `foreign` was not ours and stays, `needed` is named by a conflist that stays. */
export type FileOutcome = "written" | "replaced" | "unchanged" | "removed" | "absent" | "foreign" | "needed";

const recordName = "install-cni.json";
const digest = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** Where it is remembered what was written: it outlives a boot. */
export const recordPath = (stateDir: string): string => join(stateDir, recordName);

const readIfThere = (files: Files, path: string) => nullIfAbsent(files.read(path));

/** Says what `putFile` would do. */
export async function lookAtFile(files: Files, { path, bytes, mode }: WantedFile): Promise<FileOutcome> {
  const present = await readIfThere(files, path);
  if (!present) return "written";
  const right = present.equals(bytes) && ((await files.stat(path)).mode & 0o777) === mode;
  return right ? "unchanged" : "replaced";
}

/** Makes its directory, if that is missing, with the mode that containerd uses. */
export async function putFile(files: Files, wanted: WantedFile): Promise<FileOutcome> {
  const outcome = await lookAtFile(files, wanted);
  if (outcome === "unchanged") return outcome;
  // It may be a link to a directory, which is none to be made.
  const directory = dirname(wanted.path);
  if ((await nullIfAbsent(files.realPath(directory))) === undefined)
    await ensureDirectory(files, directory, 0o755);
  await replaceFile(files, wanted.path, wanted.bytes, wanted.mode);
  return outcome;
}

/** Path to digests of what we wrote there, or are about to. Empty if there is no record; throws kind `invalid` for one that cannot be read. */
export async function readRecord(files: Files, stateDir: string): Promise<Map<string, string>> {
  const path = recordPath(stateDir);
  const bytes = await readIfThere(files, path);
  if (!bytes) return new Map();
  try {
    const { files: written } = JSON.parse(bytes.toString("utf8")) as { files?: unknown };
    if (isObject(written)) return new Map(Object.entries(written).map(([name, sum]) => [name, String(sum)]));
  } catch {
    // Said below.
  }
  const message = `${path} cannot be read: remove by hand what was installed, then this file`;
  throw new TrivetError({ kind: "invalid", op: "install.record", subject: path, message });
}

/** Before the files themselves: a file that is recorded and not there does no harm, one that is not recorded stays for ever. */
export async function recordFiles(
  files: Files,
  stateDir: string,
  wanted: readonly WantedFile[],
): Promise<void> {
  const record = await readRecord(files, stateDir);
  const before = JSON.stringify([...record]);
  for (const file of wanted) {
    // What has these bytes by somebody else's hand stays that one's.
    if ((await lookAtFile(files, file)) === "unchanged") continue;
    // Should we be killed before it is replaced, what is there stays ours.
    const present = (await isOurs(files, record, file.path))
      ? await readIfThere(files, file.path)
      : undefined;
    const sums = [file.bytes, ...(present ? [present] : [])].map(digest);
    record.set(file.path, [...new Set(sums)].join(" "));
  }
  if (JSON.stringify([...record]) !== before) await writeRecord(files, stateDir, record);
}

/** Whether we wrote what is there now. */
export async function isOurs(
  files: Files,
  record: ReadonlyMap<string, string>,
  path: string,
): Promise<boolean> {
  return (await lookAtRecorded(files, path, record.get(path) ?? "")) === "removed";
}

/** Whether there is something that we did not write, or that was changed since. */
export async function isForeign(
  files: Files,
  record: ReadonlyMap<string, string>,
  { path, bytes }: WantedFile,
): Promise<boolean> {
  const present = await readIfThere(files, path);
  return present !== undefined && !present.equals(bytes) && !(await isOurs(files, record, path));
}

async function writeRecord(files: Files, stateDir: string, record: Map<string, string>): Promise<void> {
  await ensureDirectory(files, stateDir, 0o755);
  const text = `${JSON.stringify({ files: Object.fromEntries(record) }, null, 2)}\n`;
  await replaceFile(files, recordPath(stateDir), Buffer.from(text), 0o644);
}

/** What `removeRecorded` would do with a file, by its digests. */
export async function lookAtRecorded(files: Files, path: string, sums: string): Promise<FileOutcome> {
  const present = await readIfThere(files, path);
  if (!present) return "absent";
  return sums.split(" ").includes(digest(present)) ? "removed" : "foreign";
}

/**
 * What `removeRecorded` would do, in its order: the conflist before the programs that it names, and these not at all where it stays, since
 * the runtime would go on starting them.
 */
export async function planRemoval(files: Files, stateDir: string): Promise<Map<string, FileOutcome>> {
  const record = await readRecord(files, stateDir);
  const outcomes = new Map<string, FileOutcome>();
  const conflistFirst = [...record].sort(([a], [b]) => Number(isConflist(b)) - Number(isConflist(a)));
  let stays = false;
  for (const [path, sums] of conflistFirst) {
    const outcome = await lookAtRecorded(files, path, sums);
    if (outcome === "foreign" && isConflist(path)) stays ||= await namesUs(files, path);
    outcomes.set(path, stays && outcome === "removed" ? "needed" : outcome);
  }
  return outcomes;
}

/** Removes what is recorded and unchanged. Gives each file's outcome. */
export async function removeRecorded(files: Files, stateDir: string): Promise<Map<string, FileOutcome>> {
  const record = await readRecord(files, stateDir);
  const outcomes = await planRemoval(files, stateDir);
  for (const [path, outcome] of outcomes) {
    if (outcome === "removed") await nullIfAbsent(files.unlink(path));
    if (outcome === "removed" || outcome === "absent") record.delete(path);
  }
  if (record.size > 0) await writeRecord(files, stateDir, record);
  else if (outcomes.size > 0) await files.unlink(recordPath(stateDir));
  return outcomes;
}

/** Whether the runtime would start the plugin because of this conflist. */
async function namesUs(files: Files, path: string): Promise<boolean> {
  return /"type"\s*:\s*"trivet"/.test((await readIfThere(files, path))?.toString("utf8") ?? "");
}

const isConflist = (path: string) => basename(path).endsWith(".conflist");
