/**
 * Reads a pool when it is opened: what was under construction is dropped, what was deleted is counted until it is
 * gone, every volume is counted, and a volume whose record cannot be read is set apart, never deleted.
 */
import { basename, join } from "node:path";
import { asTrivetError, isKind } from "../../errors.ts";
import { ensureDirectory, type Files } from "../../host/files.ts";
import type { Log } from "../../observe/log.ts";
import { parseVolumeId } from "../volume/id.ts";
import { parseRecord } from "../volume/record.ts";
import { type PoolLayout, WRAPPER_MODE, wrapperLayout } from "./layout.ts";
import type { Ledger } from "./ledger.ts";
import { trashKey } from "./trash.ts";

/** What reading a pool takes. */
export interface ScanDeps {
  readonly files: Files;
  readonly log: Log;
  /** Whether an operation on this volume is running: what it builds is not garbage. */
  isBusy(id: string): boolean;
}

/** What was found, beside the sizes that went into the ledger. */
export interface ScanResult {
  readonly volumes: number;
  /** Names in `volumes/` that cannot be used, each with the reason. */
  readonly quarantined: ReadonlyMap<string, string>;
}

/**
 * Fills `ledger` anew, but for what running operations have in it. Renames of a process that died before it could
 * sync them are made durable first.
 */
export async function scanPool(deps: ScanDeps, layout: PoolLayout, ledger: Ledger): Promise<ScanResult> {
  const { files } = deps;
  for (const key of [...ledger.entries().keys()]) {
    if (!deps.isBusy(key)) ledger.release(key);
  }
  for (const path of [layout.own, layout.staging, layout.trash, layout.volumes]) {
    await ensureDirectory(files, path, WRAPPER_MODE);
    await files.sync(path);
  }
  for (const { name } of await files.list(layout.staging)) {
    if (!deps.isBusy(name)) await files.removeTree(join(layout.staging, name));
  }
  for (const { name } of await files.list(layout.trash)) {
    ledger.enter(trashKey(name), await sizeInTrash(files, join(layout.trash, name)));
  }
  const quarantined = new Map<string, string>();
  let volumes = 0;
  for (const { name } of await files.list(layout.volumes)) {
    try {
      ledger.enter(name, await sizeOf(files, join(layout.volumes, name)));
      volumes += 1;
    } catch (error) {
      const { message } = asTrivetError(error, "pool.scan", name);
      quarantined.set(name, message);
      deps.log.error("volume quarantined", { path: join(layout.volumes, name), error: message });
    }
  }
  return { volumes, quarantined };
}

async function sizeOf(files: Files, wrapper: string): Promise<number> {
  const id = parseVolumeId(basename(wrapper));
  if (!id) throw new Error("its name is no volume id: it is not the driver's");
  return parseRecord(await files.read(wrapperLayout(wrapper).record), id).sizeBytes;
}

/** What lies in the trash may have lost its record already: then it is about to be gone. */
async function sizeInTrash(files: Files, wrapper: string): Promise<number> {
  const id = parseVolumeId(basename(wrapper).split(".")[0] ?? "");
  if (!id) return 0;
  try {
    return parseRecord(await files.read(wrapperLayout(wrapper).record), id).sizeBytes;
  } catch (error) {
    if (isKind(error, "not-found", "precondition")) return 0;
    throw error;
  }
}
