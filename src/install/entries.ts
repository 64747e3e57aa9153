/**
 * The journal's entries on disk: a directory for each path that was touched, complete from the moment that it has its name, of plain
 * files that a shell can read without any parser:
 *
 *   path     the path, one line           before   what was there before (see state.ts), one line
 *   owner    the part it belongs to       after    what was put there since, or is about to be, one line each
 *   content  the bytes that were there before, where that was a file
 *
 * A name that starts with a dot is half-made or half-removed, and means nothing.
 */
import { join } from "node:path";
import { TrivetError } from "../errors.ts";
import { type Files, replaceFile } from "../host/files.ts";
import { formatState, hasSameContent, ifThere, parseState, type State } from "./state.ts";

/** The parts of an installation that are taken back by themselves. */
export const owners = ["runtime", "cni", "units", "kubelet"] as const;
export type Owner = (typeof owners)[number];

/** One path that was touched. */
export interface Entry {
  /** Of its directory in the journal; they sort in the order in which they were made. */
  readonly name: string;
  readonly path: string;
  readonly owner: Owner;
  readonly before: State;
  readonly after: readonly State[];
}

/** Whether what is there now was put there by us, or is what was there before us: its mode and owner do not matter. */
export function isOurs({ before, after }: Pick<Entry, "before" | "after">, now: State): boolean {
  return [before, ...after].some((state) => hasSameContent(state, now));
}

const lines = (...text: string[]) => Buffer.from(text.map((line) => `${line}\n`).join(""));

/** Everything that is recorded, oldest first. Throws kind `invalid` for an entry that cannot be read. */
export async function readEntries(files: Files, directory: string): Promise<Entry[]> {
  const listed = (await ifThere(files.list(directory))) ?? [];
  const names = listed.filter(({ name, kind }) => kind === "directory" && !name.startsWith("."));
  const sorted = names.map(({ name }) => name).sort();
  return Promise.all(sorted.map((name) => readEntry(files, directory, name)));
}

async function readEntry(files: Files, directory: string, name: string): Promise<Entry> {
  const at = join(directory, name);
  const text = async (file: string) => (await files.read(join(at, file))).toString("utf8").split("\n");
  const [[path = ""], [owner], [before = ""], after] = await Promise.all([
    text("path"),
    text("owner"),
    text("before"),
    text("after"),
  ]);
  const known = owners.find((candidate) => candidate === owner);
  const was = parseState(before);
  const since = after.filter((line) => line !== "").map(parseState);
  if (known && was && path.startsWith("/") && since.every((state) => state !== undefined)) {
    return { name, path, owner: known, before: was, after: since };
  }
  const message = `${at} cannot be read: it was changed by hand; restore that path by hand, then remove the directory`;
  throw new TrivetError({ kind: "invalid", op: "install.journal", subject: at, message });
}

/** What an entry is made of. */
export interface NewEntry extends Omit<Entry, "name"> {
  /** Needed where a file was there before. */
  readonly content?: Uint8Array | undefined;
}

/** Durable when it resolves. What an earlier process left half-made goes. */
export async function addEntry(files: Files, directory: string, entry: NewEntry): Promise<void> {
  const listed = await files.list(directory);
  for (const { name } of listed) if (isLeftOver(name)) await files.removeTree(join(directory, name));
  const numbers = listed.map(({ name }) => Number.parseInt(name, 10)).filter(Number.isInteger);
  const name = `${String(Math.max(0, ...numbers) + 1).padStart(6, "0")}-${entry.owner}`;
  const making = join(directory, `.new-${name}`);
  await files.mkdir(making, 0o700);
  const parts: [string, Uint8Array][] = [
    ["path", lines(entry.path)],
    ["owner", lines(entry.owner)],
    ["before", lines(formatState(entry.before))],
    ["after", lines(...entry.after.map(formatState))],
    ...(entry.content ? [["content", entry.content] as [string, Uint8Array]] : []),
  ];
  for (const [file, bytes] of parts) {
    await files.create(join(making, file), bytes, 0o600);
    await files.sync(join(making, file));
  }
  await files.sync(making);
  await files.rename(making, join(directory, name));
  await files.sync(directory);
}

const isLeftOver = (name: string) => name.startsWith(".new-") || name.startsWith(".gone-");

/** Durable when it resolves. */
export async function setAfter(
  files: Files,
  directory: string,
  entry: Pick<Entry, "name" | "after">,
): Promise<void> {
  const path = join(directory, entry.name, "after");
  await replaceFile(files, path, lines(...entry.after.map(formatState)), 0o600);
}

/** Gone in one step, durably. */
export async function dropEntry(files: Files, directory: string, name: string): Promise<void> {
  const gone = join(directory, `.gone-${name}`);
  await ifThere(files.removeTree(gone));
  await files.rename(join(directory, name), gone);
  await files.sync(directory);
  await files.removeTree(gone);
}
