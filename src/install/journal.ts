/**
 * The journal of an installation: what was at every path before we touched it, recorded before it is touched. So whatever kills an
 * installer, running it again completes the work, and taking it back restores every path as it was, and proves it. Whoever installs
 * something outside a directory of its own writes through this and in no other way. One process at a time (see lock.ts).
 */
import { dirname, join, normalize } from "node:path";
import { TrivetError } from "../errors.ts";
import { ensureDirectory, type Files } from "../host/files.ts";
import { isGone, makeDirectory, removeDirectories } from "./directories.ts";
import { addEntry, dropEntry, type Entry, isOurs, type Owner, readEntries, setAfter } from "./entries.ts";
import { clear, putFile, putLink } from "./put.ts";
import { type Restored, restoreEntry } from "./restore.ts";
import { absent, digestOf, hasSameContent, ifThere, isSame, lookAt, type State } from "./state.ts";

export interface JournalOptions {
  readonly files: Files;
  /** Trivet's state directory on the node, such as /var/lib/trivet; the journal lies in `install/journal` below it. */
  readonly stateDir: string;
}

/** A file to be there. Its user and group stay those of the file that it replaces; a new file is root's. */
export interface FileToBe {
  readonly path: string;
  readonly content: Uint8Array;
  readonly mode: number;
  readonly owner: Owner;
  /** Also over a file that somebody changed since we wrote it: that change is lost, the file from before us is not. */
  readonly force?: boolean | undefined;
}

export interface LinkToBe {
  readonly path: string;
  readonly target: string;
  readonly owner: Owner;
  readonly force?: boolean | undefined;
}

export type Outcome = "written" | "replaced" | "removed" | "unchanged";

export interface RestoreOptions {
  /** Only what belongs to this part. */
  readonly owner?: Owner | undefined;
  /** Only these paths. */
  readonly paths?: readonly string[];
  /** Also files that somebody changed since. */
  readonly force?: boolean | undefined;
  /** Changes nothing; says what would be done. */
  readonly dryRun?: boolean | undefined;
}

export interface Journal {
  /** Puts a file in place. Throws kind `conflict`, and changes nothing, where somebody else changed it since we wrote it. */
  replace(file: FileToBe): Promise<Outcome>;
  /** Puts a symbolic link in place, swapping one that is there in one step. */
  link(link: LinkToBe): Promise<Outcome>;
  /** Takes a file or a link away, so that `restore` brings it back. */
  remove(file: { readonly path: string; readonly owner: Owner; readonly force?: boolean }): Promise<Outcome>;
  /** What `replace` would do. */
  look(file: FileToBe): Promise<Outcome>;
  /** What `link` would do. */
  lookLink(link: LinkToBe): Promise<Outcome>;
  /** Records what is there, for a file that another writer is about to put in place, and may take away again. */
  keep(file: FileToBe): Promise<void>;
  /** Records a directory that is about to be made and will be ours as a whole. Throws kind `conflict` for one that is not ours. */
  claimTree(tree: { readonly path: string; readonly owner: Owner }): Promise<void>;
  /** Makes a directory and what is missing above it; they go again when they are empty. */
  makeDirectory(path: string): Promise<void>;
  /** Brings back what was there before, the last change first. A file that somebody changed since stays, with outcome `changed`. */
  restore(options?: RestoreOptions): Promise<Restored[]>;
  /** Gives up the way back for paths that stay as they are: what is there now is somebody else's. */
  forget(paths: readonly string[]): Promise<void>;
  entries(): Promise<Entry[]>;
  /** Takes away the journal itself, if no entry is left in it. Gives the directories that we made and others use. */
  finish(): Promise<string[]>;
}

export const journalDirectory = (stateDir: string): string => join(stateDir, "install", "journal");

export function createJournal({ files, stateDir }: JournalOptions): Journal {
  const directory = journalDirectory(checkedPath(stateDir));
  const core: Core = { files, directory, prepare: once(() => makeDurable(files, directory)) };
  return {
    replace: (file) => replace(core, file),
    link: (link) => linkTo(core, link),
    async remove({ path, owner, force }) {
      const now = await lookAt(files, checkedPath(path));
      if (now.kind === "absent") return "unchanged";
      await record(core, { path, owner, force, now, wanted: [absent] });
      await clear(files, path);
      return "removed";
    },
    async look(file) {
      const now = await lookAt(files, checkedPath(file.path));
      return isSame(now, stateToBe(file, now)) ? "unchanged" : outcomeOver(now);
    },
    async lookLink({ path, target }) {
      const now = await lookAt(files, checkedPath(path));
      return isSame(now, { kind: "link", target }) ? "unchanged" : outcomeOver(now);
    },
    async keep(file) {
      const now = await lookAt(files, checkedPath(file.path));
      const wanted = stateToBe(file, now);
      if (!isSame(now, wanted)) await record(core, { ...file, now, wanted: [wanted, absent] });
    },
    claimTree: (tree) => claimTree(core, tree),
    async makeDirectory(path) {
      await core.prepare();
      await makeDirectory(files, directory, checkedPath(path));
    },
    restore: (options = {}) => restore(core, options),
    async forget(paths) {
      for (const { name, path } of await readEntries(files, directory)) {
        if (paths.includes(path)) await dropEntry(files, directory, name);
      }
    },
    entries: () => readEntries(files, directory),
    async finish() {
      const { kept } = await removeDirectories(files, directory);
      const entries = await readEntries(files, directory);
      if (entries.length === 0) await removeJournal(core);
      return kept;
    },
  };
}

interface Core {
  readonly files: Files;
  readonly directory: string;
  /** Makes the journal's directory, durably. */
  prepare(): Promise<void>;
}

function once(act: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined;
  return () => {
    done ??= act();
    return done;
  };
}

/** All the way up, also where it is there already: who made it may have been killed before it was durable. */
async function makeDurable(files: Files, directory: string): Promise<void> {
  await ensureDirectory(files, directory, 0o700);
  for (let at = directory; at !== "/"; at = dirname(at)) await files.sync(dirname(at));
}

function checkedPath(path: string): string {
  if (path.startsWith("/") && normalize(path) === path && !path.includes("\n") && !path.endsWith("/"))
    return path;
  const message = `"${path}" must be an absolute path with no "..", no trailing slash and no newline`;
  throw new TrivetError({ kind: "invalid", op: "install.journal", subject: path, message });
}

const outcomeOver = (now: State): Outcome => (now.kind === "absent" ? "written" : "replaced");

function stateToBe({ content, mode }: FileToBe, now: State): State & { kind: "file" } {
  const { uid, gid } = now.kind === "file" ? now : { uid: 0, gid: 0 };
  return { kind: "file", mode, uid, gid, digest: digestOf(content) };
}

async function replace(core: Core, file: FileToBe): Promise<Outcome> {
  const { files } = core;
  const { path, content } = file;
  const now = await lookAt(files, checkedPath(path));
  const wanted = stateToBe(file, now);
  if (isSame(now, wanted)) return "unchanged";
  await record(core, { ...file, now, wanted: [wanted] });
  await putFile(files, path, { ...wanted, content });
  return outcomeOver(now);
}

async function linkTo(core: Core, { path, target, owner, force }: LinkToBe): Promise<Outcome> {
  const now = await lookAt(core.files, checkedPath(path));
  const wanted: State = { kind: "link", target };
  if (isSame(now, wanted)) return "unchanged";
  await record(core, { path, owner, force, now, wanted: [wanted] });
  await putLink(core.files, path, target);
  return outcomeOver(now);
}

interface Change {
  readonly path: string;
  readonly owner: Owner;
  readonly force?: boolean | undefined;
  readonly now: State;
  /** What may be there from now on by our doing. */
  readonly wanted: readonly State[];
}

/** Before the change itself. What was there the first time stays recorded for ever; later changes only add what we put there. */
async function record(core: Core, { path, owner, force, now, wanted }: Change): Promise<void> {
  const { files, directory } = core;
  if (now.kind === "tree") throw conflict(path, `${path} is a directory: it cannot be replaced by a file`);
  await core.prepare();
  await makeDirectory(files, directory, dirname(path));
  const known = (await readEntries(files, directory)).find((entry) => entry.path === path);
  if (!known) {
    const content = now.kind === "file" ? await files.read(path) : undefined;
    return addEntry(files, directory, { path, owner, before: now, after: wanted, content });
  }
  if (known.owner !== owner) {
    throw conflict(
      path,
      `${path} belongs to the part "${known.owner}" of the installation, not to "${owner}"`,
    );
  }
  if (!force && !isOurs(known, now)) {
    const advice = "look at what was changed, then give --force to have it overwritten, or put it back";
    throw conflict(path, `${path} was changed since we wrote it: ${advice}`);
  }
  // Until it is replaced, what is there now stays ours.
  const after = [...wanted, ...known.after.filter((state) => hasSameContent(state, now))];
  const unique = after.filter((state, index) => after.findIndex((other) => isSame(other, state)) === index);
  await setAfter(files, directory, { name: known.name, after: unique });
}

function conflict(path: string, message: string): TrivetError {
  return new TrivetError({ kind: "conflict", op: "install.journal", subject: path, message });
}

async function claimTree(core: Core, { path, owner }: { path: string; owner: Owner }): Promise<void> {
  const { files, directory } = core;
  await core.prepare();
  await makeDirectory(files, directory, dirname(checkedPath(path)));
  if ((await readEntries(files, directory)).some((entry) => entry.path === path)) return;
  const now = await lookAt(files, path);
  if (now.kind !== "absent") throw conflict(path, `${path} is there and is not ours: move it away first`);
  await addEntry(files, directory, { path, owner, before: absent, after: [{ kind: "tree" }] });
}

async function restore(core: Core, { owner, paths, force, dryRun }: RestoreOptions): Promise<Restored[]> {
  const { files, directory } = core;
  const entries = await readEntries(files, directory);
  const chosen = entries
    .filter((entry) => (!owner || entry.owner === owner) && (!paths || paths.includes(entry.path)))
    .reverse();
  const restored: Restored[] = [];
  for (const entry of chosen) {
    restored.push(
      await restoreEntry({ files, directory, force: force === true, dryRun: dryRun === true }, entry),
    );
  }
  if (dryRun) return restored;
  const left = await readEntries(files, directory);
  // What another part made for itself, and nobody has put anything in yet, is not ours to take.
  const above = left.length === 0 ? undefined : chosen.map(({ path }) => path);
  const { kept } = await removeDirectories(files, directory, above);
  if (left.length === 0 && kept.length === 0) await removeJournal(core);
  return restored;
}

async function removeJournal({ files, directory }: Core): Promise<void> {
  if (!(await ifThere(files.stat(directory)))) return;
  await files.removeTree(directory);
  await files.sync(dirname(directory));
  for (const above of [dirname(directory), dirname(dirname(directory))]) {
    if (!(await isGone(files, above))) break;
  }
}
