/**
 * The browsable side of a pool: symbolic links below `by-name`, as the class's namePattern says, over the opaque ids. They
 * are for people. Nothing is ever found through them, and what goes wrong with them stops no call.
 */
import { dirname, join, posix, relative } from "node:path";
import { isKind } from "../../errors.ts";
import { ensureDirectory, type Files } from "../../host/files.ts";
import type { Log } from "../../observe/log.ts";
import type { VolumeRecord } from "../volume/record.ts";
import { type PoolLayout, WRAPPER_MODE, wrapperOf } from "./layout.ts";

/** Where links are made, and where it is said that one could not be. */
export interface ByNameDeps {
  readonly files: Files;
  readonly log: Log;
}

/** What a link says: the way from its own directory to the wrapper. */
function targetOf(layout: PoolLayout, link: string, { id }: VolumeRecord): string {
  return relative(dirname(link), wrapperOf(layout, id));
}

/** Makes the link of a volume that is there. A name that another volume has already stays that volume's. */
export async function linkByName(deps: ByNameDeps, layout: PoolLayout, record: VolumeRecord): Promise<void> {
  if (record.browse === undefined) return;
  const { files, log } = deps;
  const link = join(layout.byName, record.browse);
  const target = targetOf(layout, link, record);
  try {
    await makeDirectories(files, layout, dirname(link));
    await files.symlink(target, link);
  } catch (error) {
    if (isKind(error, "conflict") && (await isLinkTo(files, link, target))) return;
    log.warn("no link by name", { path: link, volumeId: record.id, error: (error as Error).message });
  }
}

/**
 * One level after the other: where the name of another volume is on the way, its link leads into that volume, and from
 * there wherever its tenant likes.
 */
async function makeDirectories(files: Files, { byName }: PoolLayout, directory: string): Promise<void> {
  const names = relative(byName, directory).split("/").filter(Boolean);
  for (let path = byName; ; path = join(path, names.shift() ?? "")) {
    await ensureDirectory(files, path, WRAPPER_MODE);
    if (names.length === 0) return;
  }
}

/** Takes the link of a volume away, and the directories that are empty without it. */
export async function unlinkByName(
  deps: ByNameDeps,
  layout: PoolLayout,
  record: VolumeRecord,
): Promise<void> {
  if (record.browse === undefined) return;
  const { files, log } = deps;
  const link = join(layout.byName, record.browse);
  try {
    if (!(await isLinkTo(files, link, targetOf(layout, link, record)))) return;
    if ((await files.realPath(dirname(link))) !== dirname(link)) return; // it lies in a volume, and is its tenant's
    await files.unlink(link);
    await removeEmpty(files, layout.byName, dirname(link));
  } catch (error) {
    log.warn("link by name not removed", { path: link, error: (error as Error).message });
  }
}

async function isLinkTo(files: Files, link: string, target: string): Promise<boolean> {
  try {
    return (await files.readLink(link)) === target;
  } catch (error) {
    if (isKind(error, "not-found", "io")) return false;
    throw error;
  }
}

async function removeEmpty(files: Files, root: string, directory: string): Promise<void> {
  for (let path = directory; path.startsWith(`${root}/`); path = dirname(path)) {
    const isGone = await files.rmdir(path).then(
      () => true,
      () => false,
    );
    if (!isGone) return;
  }
}

/** Removes links to volumes that are gone, whoever left them; what is no link is left alone. Never throws. */
export async function sweepByName({ files, log }: ByNameDeps, layout: PoolLayout): Promise<void> {
  const sweep = async (directory: string): Promise<void> => {
    for (const { name, kind } of await files.list(directory)) {
      const path = join(directory, name);
      if (kind === "directory") await sweep(path);
      if (kind === "symlink" && (await leadsNowhere(files, layout, path))) await files.unlink(path);
    }
    if (directory !== layout.byName) await files.rmdir(directory).catch(() => undefined);
  };
  try {
    await sweep(layout.byName);
  } catch (error) {
    if (!isKind(error, "not-found")) log.warn("by-name not swept", { error: (error as Error).message });
  }
}

/** Read, never followed: only what names a volume of this pool is ours to judge. */
async function leadsNowhere(files: Files, { volumes }: PoolLayout, link: string): Promise<boolean> {
  const target = posix.resolve(dirname(link), await files.readLink(link));
  if (dirname(target) !== volumes) return false;
  try {
    await files.stat(target);
    return false;
  } catch (error) {
    return isKind(error, "not-found");
  }
}
