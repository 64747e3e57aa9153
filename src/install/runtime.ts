/**
 * The releases in /opt/trivet: each in a directory that appears whole, the link `current` to the one in use, `previous` to the one before
 * it. What is in use is never written to: neither a release that a process runs, nor one that a link names.
 */
import { dirname, join } from "node:path";
import { TrivetError } from "../errors.ts";
import { ensureDirectory, type Files } from "../host/files.ts";
import type { Journal, Outcome } from "./journal.ts";
import { isWhole, manifestName, type Release } from "./release.ts";
import { stagingOf } from "./restore.ts";
import { digestOf, ifThere } from "./state.ts";

export const runtimeRoot = "/opt/trivet";

export interface RuntimeDeps {
  /** Of the system that is installed to. */
  readonly files: Files;
  readonly journal: Journal;
}

/** Where a release lies. */
export interface Placed {
  /** The directory's name below `/opt/trivet`. */
  readonly name: string;
  readonly outcome: Extract<Outcome, "written" | "unchanged">;
}

export interface PlaceOptions {
  /** Of the system that the installer runs on, where the release is read. */
  readonly source: Files;
  readonly release: Release;
  readonly dryRun?: boolean | undefined;
}

/**
 * Copies a release into a directory of its own. That has the version's name, or, where another build of the version has that already,
 * the name and a part of its digest; a damaged copy is not mended under those who run it, but replaced by another one beside it.
 */
export async function placeRelease(deps: RuntimeDeps, options: PlaceOptions): Promise<Placed> {
  const { files } = deps;
  const { release, dryRun } = options;
  for (const name of candidateNames(release)) {
    const directory = join(runtimeRoot, name);
    const stat = await ifThere(files.stat(directory));
    if (stat && (await isWhole(files, directory, release))) return { name, outcome: "unchanged" };
    if (stat) continue;
    if (!dryRun) await writeRelease(deps, directory, options);
    return { name, outcome: "written" };
  }
  throw new TrivetError({
    kind: "conflict",
    op: "install.runtime",
    subject: runtimeRoot,
    message: `${runtimeRoot} has too many damaged copies of ${release.version}: remove those that 'current' and 'previous' do not name`,
  });
}

const COPIES = 20;

function* candidateNames({ version, manifest }: Release): Generator<string> {
  const digest = digestOf(Buffer.from(manifest)).slice(0, 8);
  yield version;
  yield `${version}-${digest}`;
  for (let copy = 2; copy <= COPIES; copy++) yield `${version}-${digest}-${copy}`;
}

async function writeRelease(
  { files, journal }: RuntimeDeps,
  directory: string,
  { source, release }: PlaceOptions,
): Promise<void> {
  await journal.claimTree({ path: directory, owner: "runtime" });
  const staging = stagingOf(directory);
  await ifThere(files.removeTree(staging));
  try {
    await fillStaging(files, staging, { source, release });
  } catch (error) {
    // On a full disk these are the bytes that others wait for.
    await files.removeTree(staging).catch(() => undefined);
    throw error;
  }
  await files.rename(staging, directory);
  await files.sync(dirname(directory));
}

/** Durable when it resolves. */
async function fillStaging(files: Files, staging: string, { source, release }: PlaceOptions): Promise<void> {
  const made = new Set([staging]);
  await ensureDirectory(files, staging, 0o755);
  for (const file of release.files) {
    const path = join(staging, file.name);
    for (let at = dirname(path); !made.has(at); at = dirname(at)) made.add(at);
    await ensureDirectory(files, dirname(path), 0o755);
    const bytes = await source.read(file.source);
    if (digestOf(bytes) !== file.digest) {
      const message = `${file.source} was changed while it was copied: run this again`;
      throw new TrivetError({ kind: "busy", op: "install.runtime", subject: file.source, message });
    }
    await files.create(path, bytes, file.mode);
    await files.sync(path);
  }
  await files.create(join(staging, manifestName), Buffer.from(release.manifest), 0o644);
  await files.sync(join(staging, manifestName));
  for (const at of made) await files.sync(at);
}

export const currentLink = join(runtimeRoot, "current");
export const previousLink = join(runtimeRoot, "previous");

/** The names of the releases that the links name; undefined for a link that is not there. */
export async function readLinks(
  files: Files,
): Promise<{ readonly current?: string | undefined; readonly previous?: string | undefined }> {
  const [current, previous] = await Promise.all(
    [currentLink, previousLink].map((path) => ifThere(files.readLink(path))),
  );
  return { current, previous };
}

/** `name` is in use from now on, and the one before it is remembered. Safe to be killed anywhere, and to be run again. */
export async function switchTo({ files, journal }: RuntimeDeps, name: string): Promise<Outcome> {
  const { current } = await readLinks(files);
  if (current === name) return "unchanged";
  if (current !== undefined) {
    await journal.link({ path: previousLink, target: current, owner: "runtime", force: true });
  }
  // By the package's links nothing is configured: whoever changed one meant what this changes.
  return journal.link({ path: currentLink, target: name, owner: "runtime", force: true });
}

/** Back to the release before. Gives its name. Throws kind `precondition` where there is none. */
export async function switchBack(deps: RuntimeDeps): Promise<{ readonly from: string; readonly to: string }> {
  const { current, previous } = await readLinks(deps.files);
  if (current === undefined || previous === undefined || current === previous) {
    const message = `${previousLink} names no other release: there is nothing to go back to`;
    throw new TrivetError({ kind: "precondition", op: "install.rollback", subject: previousLink, message });
  }
  if (!(await ifThere(deps.files.stat(join(runtimeRoot, previous, manifestName))))) {
    const message = `${runtimeRoot}/${previous} is not whole: install that version again with its own installer`;
    throw new TrivetError({ kind: "precondition", op: "install.rollback", subject: previous, message });
  }
  // The other way round than going forth: killed in between, it has gone back, and what it came from can be installed again.
  for (const [path, target] of [
    [currentLink, previous],
    [previousLink, current],
  ] as const) {
    await deps.journal.link({ path, target, owner: "runtime", force: true });
  }
  return { from: current, to: previous };
}

/** Takes away the releases that neither a link names nor a process runs. Gives their names. */
export async function removeOldReleases(
  { files, journal }: RuntimeDeps,
  isInUse: (directory: string) => Promise<boolean>,
): Promise<string[]> {
  const { current, previous } = await readLinks(files);
  const removed: string[] = [];
  for (const { path, owner, after } of await journal.entries()) {
    const name = path.slice(runtimeRoot.length + 1);
    if (owner !== "runtime" || !after.some(({ kind }) => kind === "tree")) continue;
    if (name === current || name === previous || (await isInUse(path))) continue;
    await journal.restore({ paths: [path] });
    removed.push(name);
  }
  return removed;
}
