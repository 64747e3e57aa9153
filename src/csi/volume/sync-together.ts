/** Several syncs that a call waits for at once. */
import type { Files } from "../../host/files.ts";

/**
 * Together: a journal commits them at once. Returns or throws when all of them are over, those after a failed one too:
 * none may be under way in what the caller renames or removes next.
 */
export async function syncTogether(files: Files, paths: readonly string[]): Promise<void> {
  const synced = await Promise.allSettled(paths.map((path) => files.sync(path)));
  for (const outcome of synced) {
    if (outcome.status === "rejected") throw outcome.reason;
  }
}
