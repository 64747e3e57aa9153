/**
 * Changes a claimed file only if it still is what the caller means: the inode is locked, the path must still name that
 * inode, and its content must be the expected one. So a release that was delayed can never free a successor's claim.
 */
import { isKind } from "../../errors.ts";
import type { Files, OpenFile } from "../../host/files.ts";

interface Guarded {
  readonly path: string;
  /** Whether this content is the one that may be changed. */
  readonly holds: (content: Buffer) => boolean;
  /** Runs with the lock held. */
  readonly act: (file: OpenFile) => Promise<void>;
}

/** Whether `act` ran: not if there is no file, or if it is somebody else's. */
export async function withGuard(files: Files, { path, holds, act }: Guarded): Promise<boolean> {
  for (;;) {
    const file = await openIfThere(files, path);
    if (!file) return false;
    try {
      await file.lock();
      const named = await nullIfAbsent(files.stat(path));
      if (!named) return false;
      const opened = await file.stat();
      if (named.ino === opened.ino && named.dev === opened.dev) {
        if (!holds(await file.read())) return false;
        await act(file);
        return true;
      }
    } finally {
      await file.close();
    }
    // Another has taken the name since we opened it: look at what it names now.
  }
}

/** Removes the file under the guard. */
export function unlinkGuarded(files: Files, { path, holds }: Omit<Guarded, "act">): Promise<boolean> {
  return withGuard(files, { path, holds, act: () => files.unlink(path) });
}

function openIfThere(files: Files, path: string): Promise<OpenFile | undefined> {
  return nullIfAbsent(files.open(path));
}

/** The value, or undefined where nothing has that name. */
export async function nullIfAbsent<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found;
  } catch (error) {
    if (isKind(error, "not-found")) return undefined;
    throw error;
  }
}
