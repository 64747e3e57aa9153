/**
 * Reads a pool when it is opened: what was under construction is dropped, what was deleted or retained is counted until
 * it is gone, every volume is counted and its limit put back in force, and a volume whose record cannot be read is set
 * apart, counted, and never deleted.
 */
import { join } from "node:path";
import { asTrivetError } from "../../errors.ts";
import { ensureDirectory, type Files } from "../../host/files.ts";
import type { Log } from "../../observe/log.ts";
import type { PoolBackends } from "../backend/open.ts";
import { forEachBounded } from "../bounded.ts";
import { scanSnapshots } from "../snapshot/scan.ts";
import { parseVolumeId } from "../volume/id.ts";
import { parseRecord, salvageSize, type VolumeRecord } from "../volume/record.ts";
import { ownDirectories, type PoolLayout, WRAPPER_MODE, wrapperLayout } from "./layout.ts";
import type { Ledger } from "./ledger.ts";
import { readInTrash } from "./remains.ts";
import { discardStaged } from "./staging.ts";
import { keepUntilMs, quarantineKey, retainedKey, trashKey } from "./trash-name.ts";

/** Records read at once. */
const READS = 16;

/** What reading a pool takes. */
export interface ScanDeps {
  readonly files: Files;
  readonly log: Log;
  /** Whether an operation on this volume is running: what it builds is not garbage. */
  isBusy(id: string): boolean;
  /** Told of every volume that is whole. Must not throw. */
  onVolume?(record: VolumeRecord): Promise<void>;
}

/** One pool to be read. */
export interface Scanned {
  readonly layout: PoolLayout;
  readonly ledger: Ledger;
  readonly backends: PoolBackends;
}

/** What was found, beside the sizes that went into the ledger. */
export interface ScanResult {
  readonly volumes: number;
  /** Names in `volumes/` that cannot be used, each with the reason. */
  readonly quarantined: Map<string, string>;
  /** Entries of the trash that stay for a while, and until when. */
  readonly kept: ReadonlyMap<string, number>;
}

/**
 * Fills `ledger` anew, but for what running operations have in it. Renames of a process that died before it could
 * sync them are made durable first.
 */
export async function scanPool(deps: ScanDeps, pool: Scanned): Promise<ScanResult> {
  const { files, isBusy } = deps;
  const { layout, ledger } = pool;
  for (const key of [...ledger.entries().keys()]) {
    if (!isBusy(key)) ledger.release(key);
  }
  for (const path of ownDirectories(layout)) {
    await ensureDirectory(files, path, WRAPPER_MODE);
    await files.sync(path);
  }
  for (const { name } of await files.list(layout.staging)) {
    if (isBusy(name)) continue;
    // Into the trash: half a copy may be huge, and the pool is not to wait for its removal.
    await discardStaged(files, layout, name);
  }
  const kept = new Map<string, number>();
  await forEachBounded(await files.list(layout.trash), READS, async ({ name }) => {
    const record = await readInTrash(files, join(layout.trash, name));
    // Without a record it is about to be gone.
    ledger.enter(trashKey(name), record?.sizeBytes ?? 0);
    const until = record && keepUntilMs(name, record);
    if (until !== undefined) kept.set(name, until);
  });
  await forEachBounded(await files.list(layout.retained), READS, async ({ name }) => {
    const record = await readInTrash(files, join(layout.retained, name));
    ledger.enter(retainedKey(name), record?.sizeBytes ?? 0);
  });
  await scanSnapshots(deps, pool);
  return { ...(await scanVolumes(deps, pool)), kept };
}

async function scanVolumes(deps: ScanDeps, pool: Scanned): Promise<Omit<ScanResult, "kept">> {
  const { files, log } = deps;
  const { layout, ledger } = pool;
  const quarantined = new Map<string, string>();
  let volumes = 0;
  await forEachBounded(await files.list(layout.volumes), READS, async ({ name }) => {
    const wrapper = join(layout.volumes, name);
    try {
      const id = parseVolumeId(name);
      if (!id) throw new Error("its name is no volume id: it is not the driver's");
      const record = parseRecord(await files.read(wrapperLayout(wrapper).record), id);
      ledger.enter(name, record.sizeBytes);
      volumes += 1;
      await deps.onVolume?.(record);
      await reinstate(deps, pool, { wrapper, record });
    } catch (error) {
      const { message } = asTrivetError(error, "pool.scan", name);
      quarantined.set(name, message);
      const content = await files.read(wrapperLayout(wrapper).record).catch(() => Buffer.alloc(0));
      ledger.enter(quarantineKey(name), salvageSize(content));
      log.error("volume quarantined", { path: wrapper, error: message });
    }
  });
  return { volumes, quarantined };
}

/**
 * For a volume that was set apart and whose record can be read again: it counts as any other from now on. Nothing for one
 * that was not.
 */
export async function readmit(
  deps: ScanDeps,
  pool: Scanned & Pick<ScanResult, "quarantined">,
  volume: { readonly wrapper: string; readonly record: VolumeRecord },
): Promise<void> {
  const { id, sizeBytes } = volume.record;
  if (!pool.quarantined.delete(id)) return;
  pool.ledger.release(quarantineKey(id));
  pool.ledger.enter(id, sizeBytes);
  deps.log.info("volume out of quarantine: its record can be read", { path: volume.wrapper });
  await deps.onVolume?.(volume.record);
  await reinstate(deps, pool, volume);
}

/** A limit that cannot be put in force is told here and by the volume's condition; its data stay usable. */
async function reinstate(
  { log }: ScanDeps,
  { backends }: Scanned,
  volume: { readonly wrapper: string; readonly record: VolumeRecord },
): Promise<void> {
  try {
    await backends.of(volume.record).reinstate(volume);
  } catch (error) {
    const { message } = asTrivetError(error, "volume.reinstate", volume.record.id);
    log.error("volume limit not in force", { path: volume.wrapper, error: message });
  }
}
