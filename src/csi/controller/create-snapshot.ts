/** CreateSnapshot: the same name gives the same snapshot, however often it is asked for and however long it takes. */
import type { Clock } from "../../host/clock.ts";
import type { Files } from "../../host/files.ts";
import type { Call } from "../call.ts";
import type { Pools } from "../pool/pools.ts";
import { snapshotKey } from "../pool/trash-name.ts";
import { invalid, refusal } from "../refusal.ts";
import {
  type Consistency,
  parseSnapshotParameters,
  type ReadingDeps,
  whileReadable,
} from "../snapshot/consistency.ts";
import type { Copies, CopyTurn } from "../snapshot/copies.ts";
import { type SnapshotId, snapshotIdFor } from "../snapshot/id.ts";
import { findSnapshot } from "../snapshot/read.ts";
import { asContent, fromContent, type SnapshotRecord, snapshotRecordOf } from "../snapshot/record.ts";
import { snapshotToWire } from "../snapshot/wire.ts";
import { buildWrapper } from "../volume/create.ts";
import { parseVolumeId } from "../volume/id.ts";
import type { CreateSnapshotRequest } from "../wire.ts";
import { parseName } from "./decode.ts";

/** What snapshots take. */
export interface SnapshotDeps extends ReadingDeps {
  readonly files: Files;
  readonly clock: Clock;
  readonly pools: Pools;
  readonly copies: Copies;
  readonly nodeId: string;
  randomUuid(): string;
}

interface WantedSnapshot {
  readonly id: SnapshotId;
  readonly name: string;
  /** As the request has it: whether there is such a volume is found out later. */
  readonly volumeId: string;
  readonly consistency: Consistency;
}

/** The handler of CreateSnapshot (specification, "CreateSnapshot"). */
export function createSnapshotHandler(deps: SnapshotDeps) {
  return async (request: CreateSnapshotRequest, call: Call) => {
    const name = parseName(request.name);
    if (request.source_volume_id === "") throw invalid("source_volume_id", "is missing");
    const { consistency } = parseSnapshotParameters(request.parameters);
    const id = snapshotIdFor({ nodeId: deps.nodeId, name });
    const wanted = { id, name, volumeId: request.source_volume_id, consistency };
    call.check();
    const record = await deps.copies.run({ key: id, kind: "snapshot", from: wanted.volumeId }, (turn) =>
      deps.lock.run([id, snapshotKey(id)], () => makeSnapshot(deps, wanted, turn)),
    );
    return { snapshot: snapshotToWire(record) };
  };
}

/** Whoever calls this holds the lock of the snapshot. */
async function makeSnapshot(
  deps: SnapshotDeps,
  wanted: WantedSnapshot,
  turn: CopyTurn,
): Promise<SnapshotRecord> {
  const { files, pools, clock } = deps;
  const { id, name, volumeId, consistency } = wanted;
  const present = await findSnapshot(files, pools.all, id);
  if (present) {
    const { record } = present;
    if (record.source.id !== volumeId) {
      const message = `a snapshot named "${record.name}" exists, and it is of ${record.source.id}, not of ${volumeId}`;
      throw refusal("conflict", id, message);
    }
    // The call that made it may have failed between the rename and its sync.
    await files.sync(present.pool.layout.snapshots);
    return record;
  }
  const volume = parseVolumeId(volumeId);
  const found = volume && (await pools.find(volume));
  if (!found) throw refusal("not-found", volumeId, `there is no volume "${volumeId}" on this node`);
  const { pool } = found;
  return turn.inTurn(pool.name, () =>
    whileReadable(deps, { found, consistency, what: id, className: "VolumeSnapshotClass" }, async (from) => {
      turn.check();
      const created = new Date(clock.nowMs()).toISOString();
      const content = await buildWrapper(files, pool, {
        record: asContent(snapshotRecordOf(found.record, { id, name, created })),
        ...{ directory: pool.layout.snapshots, ledgerKey: snapshotKey(id), isBulky: true },
        fill: (placed) => pool.backendOf(found.record).copy(placed, from, turn),
      });
      return fromContent(content);
    }),
  );
}
