/** Looks at the disk for snapshots: one by its id, or all. */
import { join } from "node:path";
import { isKind } from "../../errors.ts";
import type { Files } from "../../host/files.ts";
import type { PlacedVolume } from "../backend/backend.ts";
import { type PoolLayout, wrapperLayout } from "../pool/layout.ts";
import type { OpenPool, Pool } from "../pool/pool.ts";
import { refusal } from "../refusal.ts";
import { isMissing } from "../volume/read.ts";
import { parseSnapshotId, type SnapshotId } from "./id.ts";
import { asContent, parseSnapshotRecord, type SnapshotRecord } from "./record.ts";

/** A snapshot that is there, in a pool that is open. */
export interface FoundSnapshot {
  readonly pool: OpenPool;
  readonly record: SnapshotRecord;
}

/** The wrapper of a snapshot that is there. */
export function snapshotWrapper({ snapshots }: PoolLayout, id: SnapshotId): string {
  return join(snapshots, id);
}

/** As backends take it. */
export function placeSnapshot({ layout }: OpenPool, record: SnapshotRecord): PlacedVolume {
  return { wrapper: snapshotWrapper(layout, record.id), record: asContent(record) };
}

/** The record, undefined if the pool has no such snapshot, `precondition` if its record cannot be used. */
export async function readSnapshot(
  files: Files,
  layout: PoolLayout,
  id: SnapshotId,
): Promise<SnapshotRecord | undefined> {
  const wrapper = snapshotWrapper(layout, id);
  try {
    return parseSnapshotRecord(await files.read(wrapperLayout(wrapper).record), id);
  } catch (error) {
    if (!isKind(error, "not-found")) throw error;
  }
  if (await isMissing(files, wrapper)) return undefined;
  const message = `snapshot ${id} has no record: it is quarantined until ${wrapperLayout(wrapper).record} is there again`;
  throw refusal("precondition", id, message);
}

/** The snapshot, or undefined where there is none; `unavailable` while a pool that could hold it is away. */
export async function findSnapshot(
  files: Files,
  pools: readonly Pool[],
  id: SnapshotId,
): Promise<FoundSnapshot | undefined> {
  let away: unknown;
  for (const { use } of pools) {
    try {
      const pool = await use();
      const record = await readSnapshot(files, pool.layout, id);
      if (record) return { pool, record };
    } catch (error) {
      if (!isKind(error, "unavailable")) throw error;
      away ??= error;
    }
  }
  if (away) throw away;
  return undefined;
}

/** A snapshot by name only: its record has not been read. */
export interface SnapshotEntry {
  readonly pool: OpenPool;
  readonly id: SnapshotId;
}

/** The ids of all snapshots in order, without a look at any; `unavailable` while a pool is away. */
export async function listSnapshotIds(files: Files, pools: readonly Pool[]): Promise<SnapshotEntry[]> {
  const found: SnapshotEntry[] = [];
  for (const { use } of pools) {
    const pool = await use();
    for (const { name } of await files.list(pool.layout.snapshots)) {
      const id = parseSnapshotId(name);
      if (id) found.push({ pool, id });
    }
  }
  return found.sort((one, other) => (one.id < other.id ? -1 : 1));
}
