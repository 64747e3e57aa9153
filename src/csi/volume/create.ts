/**
 * Makes a volume. It is built in `staging`, synced, and renamed into `volumes`: what is visible there is whole, at
 * every moment and after every crash. Whoever calls this holds the lock of the volume and knows that it is not there.
 */
import { join } from "node:path";
import { isKind, withCleanupFailure } from "../../errors.ts";
import type { Files } from "../../host/files.ts";
import type { Backend, PlacedVolume } from "../backend/backend.ts";
import { RECORD_MODE, WRAPPER_MODE, wrapperLayout } from "../pool/layout.ts";
import type { OpenPool } from "../pool/pool.ts";
import { discardStaged } from "../pool/staging.ts";
import { countKeys, trashKey } from "../pool/trash-name.ts";
import { explainTrouble } from "./disk-trouble.ts";
import { isMissing } from "./read.ts";
import { encodeRecord, type VolumeRecord } from "./record.ts";
import { syncTogether } from "./sync-together.ts";

/** Puts content into a wrapper that holds nothing yet, as `Backend.build` and `Backend.copy` do. */
export type Fill = (volume: PlacedVolume) => Promise<Partial<VolumeRecord>>;

/** What is to be made, and where it becomes visible. */
export interface Building {
  /** Its id is the name of the wrapper. */
  readonly record: VolumeRecord;
  /** `volumes` or `snapshots` of the pool. */
  readonly directory: string;
  readonly ledgerKey: string;
  readonly fill: Fill;
  /** What `fill` leaves to be synced together with the record. */
  readonly unsynced?: Backend["unsynced"];
  /** Whether so much may lie in staging that its removal, where this fails, is left to the trash. */
  readonly isBulky: boolean;
}

/**
 * Returns the record, with what the backend chose, when the volume would survive a power cut; `exhausted` if it does not
 * fit. Empty, unless `fill` says otherwise.
 */
export function createVolume(
  files: Files,
  pool: OpenPool,
  record: VolumeRecord,
  fill?: Fill,
): Promise<VolumeRecord> {
  const { build, unsynced } = pool.backend;
  const content = fill ? { fill, isBulky: true } : { fill: build, unsynced, isBulky: false };
  return buildWrapper(files, pool, {
    ...{ record, directory: pool.layout.volumes, ledgerKey: record.id, ...content },
  });
}

/** The same for whatever has a record and content, such as a snapshot. */
export async function buildWrapper(files: Files, pool: OpenPool, building: Building): Promise<VolumeRecord> {
  const { record: wanted, directory, fill } = building;
  const staged = join(pool.layout.staging, wanted.id);
  const final = join(directory, wanted.id);
  pool.trash.giveWay();
  await reserve(pool, building);
  try {
    await makeWrapper(files, pool, { staged, ...building });
    const chosen = await fill({ wrapper: staged, record: wanted });
    const record = { ...wanted, ...chosen };
    await files.create(wrapperLayout(staged).record, encodeRecord(record), RECORD_MODE);
    await syncTogether(files, [
      ...(building.unsynced?.({ wrapper: staged, record }) ?? []),
      ...[wrapperLayout(staged).record, staged],
    ]);
    await files.rename(staged, final);
    await files.sync(directory);
    return record;
  } catch (error) {
    const attempt = { staged, final, ...building };
    await undo(files, pool, attempt).catch((cleanup) => withCleanupFailure(error, cleanup));
    throw await explainTrouble(files, pool, error);
  }
}

type Staged = Building & { readonly staged: string };

/** What an attempt that died may have left there is garbage. */
async function makeWrapper(files: Files, pool: OpenPool, building: Staged): Promise<void> {
  const { staged } = building;
  try {
    await files.mkdir(staged, WRAPPER_MODE);
  } catch (error) {
    if (!isKind(error, "conflict")) throw error;
    await removeStaged(files, pool, building);
    await reserve(pool, building); // what was reserved may have gone to the trash, with what lay there
    await files.mkdir(staged, WRAPPER_MODE);
  }
}

/** What was deleted a moment ago may hold the room yet: that is worth a wait, where a refusal moves a pod elsewhere. */
async function reserve(pool: OpenPool, { ledgerKey, record }: Building): Promise<void> {
  const attempt = async () => pool.ledger.reserve(ledgerKey, record.sizeBytes, await pool.room());
  try {
    await attempt();
  } catch (error) {
    if (!isKind(error, "exhausted") || countKeys(pool.ledger.entries().keys()).trashed === 0) throw error;
    await pool.trash.makeRoom();
    await attempt();
  }
}

/** A step that failed may still have happened: only a volume that is really not there gives its reservation back. */
async function undo(
  files: Files,
  pool: OpenPool,
  attempt: Staged & { readonly final: string },
): Promise<void> {
  await removeStaged(files, pool, attempt);
  if (await isMissing(files, attempt.final)) pool.ledger.release(attempt.ledgerKey);
}

async function removeStaged(files: Files, pool: OpenPool, building: Staged): Promise<void> {
  const { staged, isBulky, ledgerKey } = building;
  if (await isMissing(files, staged)) return;
  if (!isBulky) {
    await pool.backend.dismantle(staged);
    await files.removeTree(staged);
    return;
  }
  const entry = await discardStaged(files, pool.layout, building.record.id);
  pool.ledger.move(ledgerKey, trashKey(entry));
  pool.trash.kick();
}
