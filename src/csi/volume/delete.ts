/**
 * Takes a volume out of sight, durably, and leaves its removal to the trash. Whoever calls this holds the lock of the
 * volume and knows that nothing shows it any more.
 */
import { join } from "node:path";
import type { Files } from "../../host/files.ts";
import type { OpenPool } from "../pool/pool.ts";
import { trashKey, trashName } from "../pool/trash-name.ts";
import type { VolumeId } from "./id.ts";
import { isMissing } from "./read.ts";

/** The host, and what makes the name in the trash. */
export interface DeleteDeps {
  readonly files: Files;
  readonly nowMs: number;
  /** Makes the name in the trash one of its own: one name may be created and deleted twice in a millisecond. */
  readonly unique: string;
}

/** Returns when a power cut would not bring the volume back. */
export async function deleteVolume(deps: DeleteDeps, pool: OpenPool, id: VolumeId): Promise<void> {
  const { files } = deps;
  const { layout, ledger, trash } = pool;
  const entry = trashName(id, deps.nowMs, deps.unique);
  try {
    await files.rename(join(layout.volumes, id), join(layout.trash, entry));
  } catch (error) {
    // It may have happened all the same: the next attempt finds no volume, and makes that durable.
    if (await isMissing(files, join(layout.volumes, id)).catch(() => false)) ledger.move(id, trashKey(entry));
    throw error;
  }
  ledger.move(id, trashKey(entry));
  await files.sync(layout.volumes);
  await files.sync(layout.trash);
  trash.kick();
}

/**
 * For a volume that is not there: an earlier attempt may have renamed it and failed before the sync, so its absence is
 * made durable before it is reported.
 */
export async function confirmAbsence(files: Files, pool: OpenPool, id: VolumeId): Promise<void> {
  await files.sync(pool.layout.volumes);
  pool.ledger.release(id);
  pool.trash.kick();
}
