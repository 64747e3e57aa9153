/** Puts a file or a link at a path in one step, with its owner and mode, so that a reader sees the old or the new, also after a power cut. */
import { basename, dirname, join } from "node:path";
import type { Files } from "../host/files.ts";
import { ifThere } from "./state.ts";

/** A file as it is to be. */
export interface PutFile {
  readonly content: Uint8Array;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

const besides = (path: string) => join(dirname(path), `.${basename(path)}.trivet-new`);

export async function putFile(
  files: Files,
  path: string,
  { content, mode, uid, gid }: PutFile,
): Promise<void> {
  await clearBeside(files, path);
  await orCleanUp(files, path, async (temporary) => {
    await files.create(temporary, content, 0o600);
    await files.setOwner(temporary, uid, gid);
    // After the owner: a change of owner takes the set-id bits away.
    await files.setMode(temporary, mode);
    await files.sync(temporary);
    await files.rename(temporary, path);
  });
  await files.sync(dirname(path));
}

export async function putLink(files: Files, path: string, target: string): Promise<void> {
  await clearBeside(files, path);
  await orCleanUp(files, path, async (temporary) => {
    await files.symlink(target, temporary);
    await files.rename(temporary, path);
  });
  await files.sync(dirname(path));
}

/** Where the disk is full, or the file may not be replaced, nothing is left beside it. */
async function orCleanUp(
  files: Files,
  path: string,
  put: (temporary: string) => Promise<void>,
): Promise<void> {
  try {
    await put(besides(path));
  } catch (error) {
    await clearBeside(files, path).catch(() => undefined);
    throw error;
  }
}

/** Nothing is at `path` when it resolves, nor a file that a killed `put` left beside it. */
export async function clear(files: Files, path: string): Promise<void> {
  await clearBeside(files, path);
  await ifThere(files.unlink(path));
  if (await ifThere(files.stat(dirname(path)))) await files.sync(dirname(path));
}

/** Only what a killed `put` left beside `path`. */
export async function clearBeside(files: Files, path: string): Promise<void> {
  await ifThere(files.unlink(besides(path)));
}
