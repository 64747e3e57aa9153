/**
 * Claims a name with content: the content is written to a file in `staging`, which is then hard-linked to the name. Both
 * appear in one step, or the name is taken. No lock, and never an empty or half-written file under a claimed name.
 */
import { join } from "node:path";
import { isKind, withCleanupFailure } from "../../errors.ts";
import type { Files } from "../../host/files.ts";
import { nullIfAbsent } from "./guard.ts";
import type { NetworkPaths } from "./paths.ts";
import { needingRoom } from "./room.ts";

const FILE_MODE = 0o600;

/** Content that has a temporary name. */
export interface Staged {
  /** Whether the name was free and is ours now. */
  claim(path: string): Promise<boolean>;
  /** Takes the name whoever has it: only under the guard of that name. */
  replace(path: string): Promise<void>;
}

/** Where and under which name content is staged. */
export interface Staging {
  readonly files: Files;
  readonly paths: NetworkPaths;
  /** Starts the temporary name: `NetworkPaths.stagingPrefix` of the attachment. */
  readonly prefix: string;
  readonly nonce: string;
}

/** Runs `use` with the content staged; the temporary name is gone afterwards. */
export async function withStaged<T>(
  { files, paths, prefix, nonce }: Staging,
  content: Buffer,
  use: (staged: Staged) => Promise<T>,
): Promise<T> {
  const temporary = join(paths.staging, `${prefix}${nonce}`);
  const remove = () => nullIfAbsent(files.unlink(temporary));
  let result: T;
  let renamed = false;
  try {
    await needingRoom(files.create(temporary, content, FILE_MODE));
    result = await use({
      claim: (path) => linkUnlessTaken(files, temporary, path),
      async replace(path) {
        await files.rename(temporary, path);
        renamed = true;
      },
    });
  } catch (error) {
    throw await remove().then(
      () => error,
      (failure: unknown) => withCleanupFailure(error, failure),
    );
  }
  if (!renamed) await remove();
  return result;
}

async function linkUnlessTaken(files: Files, existing: string, name: string): Promise<boolean> {
  try {
    await files.link(existing, name);
    return true;
  } catch (error) {
    if (isKind(error, "conflict")) return false;
    throw error;
  }
}

/** Removes what a killed call of this attachment left in `staging`. */
export async function clearStaging(files: Files, paths: NetworkPaths, prefix: string): Promise<void> {
  const entries = (await nullIfAbsent(files.list(paths.staging))) ?? [];
  for (const { name } of entries) {
    if (name.startsWith(prefix)) await nullIfAbsent(files.unlink(join(paths.staging, name)));
  }
}
