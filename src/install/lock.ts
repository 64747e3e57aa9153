/** One installer at a time on a node: the DaemonSet's and one that an administrator runs by hand must not write the journal together. */
import { join } from "node:path";
import { isKind } from "../errors.ts";
import { ensureDirectory, type Files } from "../host/files.ts";
import { isGone } from "./directories.ts";
import { ifThere } from "./state.ts";

const lockPath = (stateDir: string) => join(stateDir, "install", "lock");

/** Waits for the present holder, runs `act`, and lets go; also when the process is killed. The file stays until `removeLock`. */
export async function whileLocked<T>(files: Files, stateDir: string, act: () => Promise<T>): Promise<T> {
  const path = lockPath(stateDir);
  for (;;) {
    await ensureDirectory(files, join(stateDir, "install"), 0o755);
    await files.create(path, new Uint8Array(), 0o600).catch((error: unknown) => {
      if (!isKind(error, "conflict")) throw error;
    });
    const file = await ifThere(files.open(path));
    if (!file) continue;
    try {
      await file.lock();
      const [held, named] = [await file.stat(), await ifThere(files.stat(path))];
      // Who held it before may have taken it away with everything else.
      if (named && named.ino === held.ino && named.dev === held.dev) return await act();
    } finally {
      await file.close();
    }
  }
}

/**
 * While it is held, when nothing is installed any more: takes away the lock and the directories that are empty then, the state
 * directory only if nothing of Trivet is to stay.
 */
export async function removeLock(
  files: Files,
  stateDir: string,
  { keepsStateDir = false } = {},
): Promise<void> {
  await ifThere(files.unlink(lockPath(stateDir)));
  const isEmpty = await isGone(files, join(stateDir, "install"));
  if (isEmpty && !keepsStateDir) await isGone(files, stateDir);
}
