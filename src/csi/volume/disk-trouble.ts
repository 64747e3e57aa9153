/** What a failed write to a pool means to the caller: which resource ran out, or that the disk takes no writes at all. */
import { isKind } from "../../errors.ts";
import type { Files } from "../../host/files.ts";
import type { OpenPool } from "../pool/pool.ts";
import { refusal } from "../refusal.ts";

/** The error to throw in place of `error`, which stays its cause; `error` itself where there is nothing to add. */
export async function explainTrouble(
  files: Files,
  { name, layout }: OpenPool,
  error: unknown,
): Promise<unknown> {
  if (isKind(error, "exhausted")) {
    const space = await files.space(layout.volumes).catch(() => undefined);
    if (!space || space.totalInodes === 0 || space.freeInodes > 0) return error;
    const message = `pool "${name}" has no inodes left, of ${space.totalInodes}: remove files, or use another disk`;
    return refusal("exhausted", name, message, error);
  }
  // errno names end the messages of failed effects (host/errno.ts).
  if (isKind(error, "io") && error.message.endsWith(": EROFS")) {
    const message = `pool "${name}" lies on a file system that takes no writes (EROFS): look for disk errors, then mount it read-write`;
    return refusal("unavailable", name, message, error);
  }
  return error;
}
