/** Brings one recorded path back to what was there before, looks at it again, and only then forgets it. */
import { dirname, join } from "node:path";
import { TrivetError } from "../errors.ts";
import type { Files } from "../host/files.ts";
import { dropEntry, type Entry, isOurs } from "./entries.ts";
import { clear, clearBeside, putFile, putLink } from "./put.ts";
import { formatState, ifThere, isSame, lookAt, type State } from "./state.ts";

/** `restored` has its old content, `removed` was not there before, `same` needed nothing, `changed` was changed by somebody else and stays. */
export type RestoreOutcome = "restored" | "removed" | "same" | "changed";

/** What became of a path: `before` is what was recorded, `now` what is there, as read again afterwards. */
export interface Restored {
  readonly path: string;
  readonly owner: Entry["owner"];
  readonly outcome: RestoreOutcome;
  readonly before: State;
  readonly now: State;
}

export interface RestoreWith {
  readonly files: Files;
  /** Of the journal. */
  readonly directory: string;
  readonly force: boolean;
  readonly dryRun: boolean;
}

/** Where a tree is made before it has its name; it goes with the tree. */
export const stagingOf = (path: string): string =>
  join(dirname(path), `.new-${path.slice(dirname(path).length + 1)}`);

export async function restoreEntry(by: RestoreWith, entry: Entry): Promise<Restored> {
  const { files, directory, force, dryRun } = by;
  const { path, owner, before } = entry;
  const found = await lookAt(files, path);
  const outcome = outcomeOf(entry, found, force);
  if (dryRun || outcome === "changed") return { path, owner, outcome, before, now: found };
  await bringBack(by, entry, found);
  const now = await lookAt(files, path);
  if (!isSame(now, before)) {
    const message = `${path} should be "${formatState(before)}" again, and is "${formatState(now)}": somebody else writes to it`;
    throw new TrivetError({ kind: "io", op: "install.restore", subject: path, message });
  }
  // Also where nothing was to be done: an earlier run may have been killed before it was durable.
  if (await ifThere(files.stat(dirname(path)))) await files.sync(dirname(path));
  await dropEntry(files, directory, entry.name);
  return { path, owner, outcome, before, now };
}

function outcomeOf(entry: Entry, now: State, force: boolean): RestoreOutcome {
  if (isSame(now, entry.before)) return "same";
  if (!isOurs(entry, now) && !force) return "changed";
  return entry.before.kind === "absent" ? "removed" : "restored";
}

async function bringBack({ files, directory }: RestoreWith, entry: Entry, now: State): Promise<void> {
  const { path, before, after } = entry;
  if (after.some(({ kind }) => kind === "tree")) {
    for (const tree of [stagingOf(path), path]) await ifThere(files.removeTree(tree));
    return;
  }
  if (now.kind === "tree") {
    const message = `${path} is a directory now: move it away, then run this again`;
    throw new TrivetError({ kind: "conflict", op: "install.restore", subject: path, message });
  }
  await clearBeside(files, path);
  if (isSame(now, before)) return;
  if (before.kind === "link") await putLink(files, path, before.target);
  else if (before.kind === "file") {
    const content = await files.read(join(directory, entry.name, "content"));
    await putFile(files, path, { ...before, content });
  } else await clear(files, path);
}
