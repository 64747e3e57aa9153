/**
 * Takes a snapshot out of sight, durably, and leaves its removal to the trash. Whoever calls this holds the lock of the
 * snapshot and knows that nothing is made from it at the moment.
 */
import { join } from "node:path";
import { withCleanupFailure } from "../../errors.ts";
import type { Files } from "../../host/files.ts";
import type { OpenPool } from "../pool/pool.ts";
import { snapshotKey, trashKey, trashName } from "../pool/trash-name.ts";
import { isMissing } from "../volume/read.ts";
import type { SnapshotId } from "./id.ts";
import { snapshotWrapper } from "./read.ts";

/** The host, and what makes the name in the trash one of its own. */
export interface DeleteSnapshotDeps {
  readonly files: Files;
  readonly nowMs: number;
  readonly unique: string;
}

/** Returns when a power cut would not bring the snapshot back. */
export async function deleteSnapshot(
  deps: DeleteSnapshotDeps,
  pool: OpenPool,
  id: SnapshotId,
): Promise<void> {
  const { files, nowMs, unique } = deps;
  const { layout, ledger, trash } = pool;
  const entry = trashName(id, nowMs, unique);
  const wrapper = snapshotWrapper(layout, id);
  const moved = () => ledger.move(snapshotKey(id), trashKey(entry));
  try {
    await files.rename(wrapper, join(layout.trash, entry));
  } catch (error) {
    // It may have happened all the same: the next attempt finds no snapshot, and makes that durable.
    await isMissing(files, wrapper).then(
      (gone) => gone && moved(),
      (cleanup) => withCleanupFailure(error, cleanup),
    );
    throw error;
  }
  moved();
  // Together: a journal commits them at once. Both must be over before anybody is told, failed ones too.
  const synced = await Promise.allSettled([files.sync(layout.snapshots), files.sync(layout.trash)]);
  for (const outcome of synced) if (outcome.status === "rejected") throw outcome.reason;
  trash.settled(entry);
  trash.kick();
}

/** For a snapshot that is not there: an earlier attempt may have failed before the sync. */
export async function confirmSnapshotAbsence(files: Files, pool: OpenPool, id: SnapshotId): Promise<void> {
  await files.sync(pool.layout.snapshots);
  pool.ledger.release(snapshotKey(id));
  pool.trash.kick();
}
