/** Brings back what was deleted or retained: the volume has its old id, so that the old PersistentVolume finds it. */
import { join } from "node:path";
import type { Files } from "../../host/files.ts";
import { wrapperOf } from "../pool/layout.ts";
import type { OpenPool } from "../pool/pool.ts";
import { readInTrash } from "../pool/remains.ts";
import { parseTrashName, retainedKey, trashKey } from "../pool/trash-name.ts";
import { refusal } from "../refusal.ts";
import type { VolumeId } from "./id.ts";
import { isMissing } from "./read.ts";
import type { VolumeRecord } from "./record.ts";

/** One that was deleted or retained and can be brought back. */
export interface Deleted {
  readonly entry: string;
  readonly state: "trash" | "retained";
  readonly deletedMs: number;
  /** When it will be removed; undefined for never, or for as soon as the remover gets to it. */
  readonly keptUntilMs: number | undefined;
  readonly record: VolumeRecord;
}

/** Everything in a pool that can be brought back, the latest first. */
export async function listDeleted(files: Files, pool: OpenPool): Promise<readonly Deleted[]> {
  const found: Deleted[] = [];
  for (const state of ["trash", "retained"] as const) {
    for (const { name } of await files.list(pool.layout[state])) {
      const parsed = parseTrashName(name);
      const record = parsed && (await readInTrash(files, join(pool.layout[state], name)));
      if (!record) continue;
      const keptUntilMs = state === "trash" ? pool.trash.keptUntil(name) : undefined;
      found.push({ entry: name, state, deletedMs: parsed.deletedMs, keptUntilMs, record });
    }
  }
  return found.sort((a, b) => b.deletedMs - a.deletedMs);
}

/**
 * The latest deleted volume of this id, back in its place, durably. `not-found` where there is none, `conflict` where a
 * volume of this id exists, `precondition` where its removal has begun. Whoever calls this holds the lock of the volume.
 */
export async function restoreFromTrash(files: Files, pool: OpenPool, id: VolumeId): Promise<VolumeRecord> {
  const latest = (await listDeleted(files, pool)).find(({ record }) => record.id === id);
  if (!latest) throw refusal("not-found", id, `pool "${pool.name}" keeps no deleted volume ${id}`);
  const wrapper = wrapperOf(pool.layout, id);
  if (!(await isMissing(files, wrapper))) {
    const message = `a volume ${id} exists: delete it first, or leave the deleted one where it is`;
    throw refusal("conflict", id, message);
  }
  const { entry, state, record, keptUntilMs } = latest;
  const isReclaimed = state === "retained" || pool.trash.reclaim(entry);
  if (!isReclaimed) throw refusal("precondition", id, `the removal of volume ${id} has begun`);
  try {
    await files.rename(join(pool.layout[state], entry), wrapper);
  } catch (error) {
    // It may have happened all the same.
    const isBack = await isMissing(files, wrapper).then(
      (missing) => !missing,
      () => false,
    );
    if (isBack) pool.ledger.move(state === "trash" ? trashKey(entry) : retainedKey(entry), id);
    if (keptUntilMs !== undefined) pool.trash.keep(entry, keptUntilMs);
    else if (state === "trash") pool.trash.forget(entry);
    throw error;
  }
  pool.trash.forget(entry);
  pool.ledger.move(state === "trash" ? trashKey(entry) : retainedKey(entry), id);
  await Promise.all([files.sync(pool.layout.volumes), files.sync(pool.layout[state])]);
  await pool.backendOf(record).reinstate(pool.place(record));
  return record;
}
