/**
 * NodeExpandVolume: the record first, then the limit. A crash in between leaves a record that is larger than the limit, and
 * the retry or the next start puts that in force; the other way round the size would be forgotten.
 */
import { isKind } from "../../errors.ts";
import { type Files, replaceFile } from "../../host/files.ts";
import type { Mounts } from "../../host/mount.ts";
import type { Call } from "../call.ts";
import { isWithinRange, parseCapacityRange, roundUp } from "../capacity.ts";
import type { KeyedLock } from "../keyed-lock.ts";
import { RECORD_MODE, wrapperLayout } from "../pool/layout.ts";
import type { OpenPool } from "../pool/pool.ts";
import type { FoundVolume, Pools } from "../pool/pools.ts";
import { invalid, refusal } from "../refusal.ts";
import { parseVolumeId } from "../volume/id.ts";
import { encodeRecord, type VolumeRecord } from "../volume/record.ts";
import type { NodeExpandVolumeRequest } from "../wire.ts";
import { showsSource } from "./mount-state.ts";

/** The effects of enlarging a volume. */
export interface ExpandDeps {
  readonly files: Files;
  readonly mounts: Mounts;
  readonly pools: Pools;
  readonly lock: KeyedLock;
}

/** The handler of NodeExpandVolume (specification, "NodeExpandVolume"). */
export function expandHandler(deps: ExpandDeps) {
  return async (request: NodeExpandVolumeRequest, call: Call) => {
    const { volume_id, volume_path } = request;
    if (volume_id === "") throw invalid("volume_id", "is missing");
    if (volume_path === "") throw invalid("volume_path", "is missing");
    const range = parseCapacityRange(request.capacity_range);
    const id = parseVolumeId(volume_id);
    if (!id) throw unknown(volume_id);
    call.about(id);
    return deps.lock.run([id], async () => {
      const found = await deps.pools.find(id);
      if (!found) throw unknown(volume_id);
      const { pool, record } = found;
      const wanted = Math.max(record.sizeBytes, roundUp(range.requiredBytes, pool.backendOf(record)));
      if (!isWithinRange(wanted, range)) {
        const message = `volume ${id} has ${record.sizeBytes} bytes and cannot have ${range.requiredBytes} to ${range.limitBytes}`;
        throw refusal("range", id, message);
      }
      call.check();
      const isGrowing = wanted > record.sizeBytes;
      const grown = isGrowing ? await enlarge(deps, found, wanted) : await confirm(deps.files, found);
      // A size that was reached already may not be in force yet: its first attempt may have died.
      if (range.requiredBytes > 0)
        await pool.backendOf(grown).grow(pool.place(grown), await mountPointOf(deps.mounts, pool, grown));
      // The caller is told what it asked for: a volume that was rounded up has that as well.
      const answer = isGrowing ? range.requiredBytes : record.sizeBytes;
      return { capacity_bytes: String(answer) };
    });
  };
}

/** The reservation, then the record. What does not fit is out of range: on this node it never will be in it. */
async function enlarge(
  deps: ExpandDeps,
  { pool, record }: FoundVolume,
  sizeBytes: number,
): Promise<VolumeRecord> {
  try {
    pool.ledger.reserve(record.id, sizeBytes, await pool.room());
  } catch (error) {
    if (!isKind(error, "exhausted")) throw error;
    throw refusal("range", record.id, `volume ${record.id} cannot be enlarged: ${error.message}`, error);
  }
  const grown = { ...record, sizeBytes };
  const path = wrapperLayout(pool.place(record).wrapper).record;
  try {
    await replaceFile(deps.files, path, encodeRecord(grown), RECORD_MODE);
  } catch (error) {
    // It may have happened all the same: then the larger size is what the disk says, and stays reserved.
    const isWritten = await deps.files.read(path).then(
      (content) => content.equals(encodeRecord(grown)),
      () => true,
    );
    if (!isWritten) pool.ledger.enter(record.id, record.sizeBytes);
    throw error;
  }
  return grown;
}

/** The call that enlarged it may have failed before its record was durable. */
async function confirm(files: Files, { pool, record }: FoundVolume): Promise<VolumeRecord> {
  await files.sync(pool.place(record).wrapper);
  return record;
}

/** Where the file system within an image is mounted, if it is. */
async function mountPointOf(
  mounts: Mounts,
  pool: OpenPool,
  record: VolumeRecord,
): Promise<string | undefined> {
  const source = await pool
    .backendOf(record)
    .attached(pool.place(record))
    .catch(() => undefined);
  if (source?.kind !== "filesystem") return undefined;
  const table = await mounts.list();
  return table.find(showsSource(table, source))?.mountPoint;
}

function unknown(volumeId: string) {
  return refusal("not-found", volumeId, `there is no volume "${volumeId}" on this node`);
}
