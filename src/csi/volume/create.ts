/**
 * Makes a volume. It is built in `staging`, synced, and renamed into `volumes`: what is visible there is whole, at
 * every moment and after every crash. Whoever calls this holds the lock of the volume and knows that it is not there.
 */
import { join } from "node:path";
import { isKind, withCleanupFailure } from "../../errors.ts";
import type { Files } from "../../host/files.ts";
import { DATA_MODE, RECORD_MODE, WRAPPER_MODE, wrapperLayout } from "../pool/layout.ts";
import type { OpenPool } from "../pool/pool.ts";
import { isMissing } from "./read.ts";
import { encodeRecord, type VolumeRecord } from "./record.ts";

/** Returns when the volume would survive a power cut; `exhausted` if it does not fit. */
export async function createVolume(files: Files, pool: OpenPool, record: VolumeRecord): Promise<void> {
  const staged = join(pool.layout.staging, record.id);
  const final = join(pool.layout.volumes, record.id);
  pool.ledger.reserve(record.id, record.sizeBytes, await pool.room());
  try {
    await removeStaged(files, staged);
    await build(files, staged, record);
    await files.rename(staged, final);
    await files.sync(pool.layout.volumes);
  } catch (error) {
    await undo(files, pool, { staged, final, record }).catch((cleanup) => withCleanupFailure(error, cleanup));
    throw error;
  }
}

async function build(files: Files, wrapper: string, record: VolumeRecord): Promise<void> {
  const { record: recordPath, data } = wrapperLayout(wrapper);
  await files.mkdir(wrapper, WRAPPER_MODE);
  await files.mkdir(data, DATA_MODE);
  await files.create(recordPath, encodeRecord(record), RECORD_MODE);
  // Together: a journal commits them at once. All must be over before the rename, failed ones too.
  const synced = await Promise.allSettled([data, recordPath, wrapper].map((path) => files.sync(path)));
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
  await removeStaged(files, staged);
  if (await isMissing(files, final)) pool.ledger.release(record.id);
}

async function removeStaged(files: Files, staged: string): Promise<void> {
  await files.removeTree(staged).catch((error) => {
    if (!isKind(error, "not-found")) throw error;
  });
}
