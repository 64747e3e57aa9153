/**
 * Takes a volume out of sight, durably: into the trash, which removes it at once or when its time is up, or to those that
 * are kept for the administrator. Whoever calls this holds the lock of the volume and knows that nothing shows it.
 */
import { join } from "node:path";
import type { Files } from "../../host/files.ts";
import { wrapperOf } from "../pool/layout.ts";
import type { OpenPool } from "../pool/pool.ts";
import { keepUntilMs, retainedKey, trashKey, trashName } from "../pool/trash-name.ts";
import type { VolumeId } from "./id.ts";
import { isMissing } from "./read.ts";
import type { VolumeRecord } from "./record.ts";
import { syncTogether } from "./sync-together.ts";

/** The host, and what makes the name in the trash. */
export interface DeleteDeps {
  readonly files: Files;
  readonly nowMs: number;
  /** Makes the name in the trash one of its own: one name may be created and deleted twice in a millisecond. */
  readonly unique: string;
}

/** Returns when a power cut would not bring the volume back. */
export async function deleteVolume(deps: DeleteDeps, pool: OpenPool, record: VolumeRecord): Promise<void> {
  const { files } = deps;
  const { layout, ledger, trash } = pool;
  const entry = trashName(record.id, deps.nowMs, deps.unique);
  const isRetained = record.onDelete?.policy === "retain";
  const [directory, key] = isRetained
    ? [layout.retained, retainedKey(entry)]
    : [layout.trash, trashKey(entry)];
  const untilMs = keepUntilMs(entry, record);
  trash.giveWay();
  // Before it is there: the remover may be looking.
  if (untilMs !== undefined) trash.keep(entry, untilMs);
  const wrapper = wrapperOf(layout, record.id);
  try {
    await files.rename(wrapper, join(directory, entry));
  } catch (error) {
    // It may have happened all the same: the next attempt finds no volume, and makes that durable.
    if (await isMissing(files, wrapper).catch(() => false)) ledger.move(record.id, key);
    else trash.forget(entry);
    throw error;
  }
  ledger.move(record.id, key);
  await syncTogether(files, [layout.volumes, directory]);
  if (!isRetained) trash.settled(entry);
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
