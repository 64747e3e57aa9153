/** ListSnapshots and GetSnapshot. A page looks at as many records as it has entries; a filter by source looks at all. */
import type { Files } from "../../host/files.ts";
import type { Pools } from "../pool/pools.ts";
import { invalid, refusal } from "../refusal.ts";
import { parseSnapshotId, type SnapshotId } from "../snapshot/id.ts";
import { findSnapshot, listSnapshotIds, readSnapshot, type SnapshotEntry } from "../snapshot/read.ts";
import type { SnapshotRecord } from "../snapshot/record.ts";
import { snapshotToWire } from "../snapshot/wire.ts";
import type { GetSnapshotRequest, ListSnapshotsRequest } from "../wire.ts";

/** Snapshots are read from the disk each time. */
export interface ListSnapshotsDeps {
  readonly files: Files;
  readonly pools: Pools;
}

/** The handler of ListSnapshots (specification, "ListSnapshots"): unknown ids are no error, they match nothing. */
export function listSnapshotsHandler(deps: ListSnapshotsDeps) {
  return async (request: ListSnapshotsRequest) => {
    const { max_entries, starting_token, snapshot_id, source_volume_id } = request;
    if (max_entries < 0) throw invalid("max_entries", `is ${max_entries}: give 0 for all, or more`);
    const after = parseToken(starting_token);
    if (snapshot_id !== "") return onlyThat(deps, request);
    const wanted = (record: SnapshotRecord) =>
      source_volume_id === "" || record.source.id === source_volume_id;
    const ids = await listSnapshotIds(deps.files, deps.pools.all);
    const rest = after === undefined ? ids : ids.filter(({ id }) => id > after);
    // One more than fits tells whether there is another page.
    const limit = max_entries === 0 ? Number.POSITIVE_INFINITY : max_entries;
    const found = await take(deps.files, rest, { limit: limit + 1, wanted });
    const page = found.slice(0, limit);
    return {
      entries: page.map((record) => ({ snapshot: snapshotToWire(record) })),
      next_token: found.length > page.length ? (page.at(-1)?.id ?? "") : "",
    };
  };
}

/** The handler of GetSnapshot, which is offered only where the settings say so. */
export function getSnapshotHandler({ files, pools }: ListSnapshotsDeps) {
  return async ({ snapshot_id }: GetSnapshotRequest) => {
    if (snapshot_id === "") throw invalid("snapshot_id", "is missing");
    const id = parseSnapshotId(snapshot_id);
    const found = id && (await findSnapshot(files, pools.all, id));
    if (found) return { snapshot: snapshotToWire(found.record) };
    throw refusal("not-found", snapshot_id, `there is no snapshot "${snapshot_id}" on this node`);
  };
}

/** The last id of the page before: it need not exist any more. The specification wants ABORTED for what is no token. */
function parseToken(token: string): SnapshotId | undefined {
  if (token === "") return undefined;
  const id = parseSnapshotId(token);
  if (id) return id;
  throw refusal(
    "busy",
    "starting_token",
    `starting_token is "${token}", which no page ended with: begin again without`,
  );
}

async function onlyThat({ files, pools }: ListSnapshotsDeps, request: ListSnapshotsRequest): Promise<object> {
  const { snapshot_id, source_volume_id } = request;
  const id = parseSnapshotId(snapshot_id);
  const record = id && (await findSnapshot(files, pools.all, id))?.record;
  const isWanted = record && (source_volume_id === "" || record.source.id === source_volume_id);
  return { entries: isWanted ? [{ snapshot: snapshotToWire(record) }] : [], next_token: "" };
}

interface Take {
  readonly limit: number;
  wanted(record: SnapshotRecord): boolean;
}

/** The first that are wanted. One that has just been deleted, or cannot be used, is left out. */
async function take(
  files: Files,
  entries: readonly SnapshotEntry[],
  { limit, wanted }: Take,
): Promise<SnapshotRecord[]> {
  const found: SnapshotRecord[] = [];
  for (const { pool, id } of entries) {
    if (found.length >= limit) break;
    const record = await readSnapshot(files, pool.layout, id).catch((error: { kind?: string }) => {
      if (error.kind === "precondition") return undefined;
      throw error;
    });
    if (record && wanted(record)) found.push(record);
  }
  return found;
}
