/**
 * Makes a volume. It is built in `staging`, synced, and renamed into `volumes`: what is visible there is whole, at
 * every moment and after every crash. Whoever calls this holds the lock of the volume and knows that it is not there.
 */
import { join } from "node:path";
import { isKind, withCleanupFailure } from "../../errors.ts";
import type { Files } from "../../host/files.ts";
import type { PlacedVolume } from "../backend/backend.ts";
import { RECORD_MODE, WRAPPER_MODE, wrapperLayout, wrapperOf } from "../pool/layout.ts";
import type { OpenPool } from "../pool/pool.ts";
import { isMissing } from "./read.ts";
import { encodeRecord, type VolumeRecord } from "./record.ts";

/** Puts content into a wrapper that holds nothing yet, as `Backend.build` and `Backend.copy` do. */
export type Fill = (volume: PlacedVolume) => Promise<Partial<VolumeRecord>>;

/**
 * Returns the record, with what the backend chose, when the volume would survive a power cut; `exhausted` if it does not
 * fit. Empty, unless `fill` says otherwise.
 */
export async function createVolume(
  files: Files,
  pool: OpenPool,
  wanted: VolumeRecord,
  fill: Fill = pool.backend.build,
): Promise<VolumeRecord> {
  const staged = join(pool.layout.staging, wanted.id);
  const final = wrapperOf(pool.layout, wanted.id);
  pool.ledger.reserve(wanted.id, wanted.sizeBytes, await pool.room());
  try {
    await makeWrapper(files, pool, staged);
    const chosen = await fill({ wrapper: staged, record: wanted });
    const record = { ...wanted, ...chosen };
    await writeRecord(files, staged, record);
    await files.rename(staged, final);
    await files.sync(pool.layout.volumes);
    return record;
  } catch (error) {
    const attempt = { staged, final, record: wanted };
    await undo(files, pool, attempt).catch((cleanup) => withCleanupFailure(error, cleanup));
    throw error;
  }
}

/** What an attempt that died may have left there is garbage. */
async function makeWrapper(files: Files, pool: OpenPool, staged: string): Promise<void> {
  try {
    await files.mkdir(staged, WRAPPER_MODE);
  } catch (error) {
    if (!isKind(error, "conflict")) throw error;
    await removeStaged(files, pool, staged);
    await files.mkdir(staged, WRAPPER_MODE);
  }
}

async function writeRecord(files: Files, wrapper: string, record: VolumeRecord): Promise<void> {
  const path = wrapperLayout(wrapper).record;
  await files.create(path, encodeRecord(record), RECORD_MODE);
  // Together: a journal commits them at once. Both must be over before the rename, failed ones too.
  const synced = await Promise.allSettled([files.sync(path), files.sync(wrapper)]);
  for (const outcome of synced) {
    if (outcome.status === "rejected") throw outcome.reason;
  }
}

interface Attempt {
  readonly staged: string;
  readonly final: string;
  readonly record: VolumeRecord;
}

/** A step that failed may still have happened: only a volume that is really not there gives its reservation back. */
async function undo(files: Files, pool: OpenPool, { staged, final, record }: Attempt): Promise<void> {
  await removeStaged(files, pool, staged);
  if (await isMissing(files, final)) pool.ledger.release(record.id);
}

async function removeStaged(files: Files, { backend }: OpenPool, staged: string): Promise<void> {
  if (await isMissing(files, staged)) return;
  await backend.dismantle(staged);
  await files.removeTree(staged);
}
