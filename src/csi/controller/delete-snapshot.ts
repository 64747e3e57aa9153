/** DeleteSnapshot: out of sight durably, then removed in the background. A copy that is still being made is given up. */
import type { Call } from "../call.ts";
import { snapshotKey } from "../pool/trash-name.ts";
import { invalid } from "../refusal.ts";
import { confirmSnapshotAbsence, deleteSnapshot } from "../snapshot/delete.ts";
import { parseSnapshotId } from "../snapshot/id.ts";
import { findSnapshot } from "../snapshot/read.ts";
import type { DeleteSnapshotRequest } from "../wire.ts";
import type { SnapshotDeps } from "./create-snapshot.ts";

/** The handler of DeleteSnapshot (specification, "DeleteSnapshot"). */
export function deleteSnapshotHandler(deps: SnapshotDeps) {
  const { files, pools, lock, copies, sources } = deps;
  return async ({ snapshot_id }: DeleteSnapshotRequest, call: Call) => {
    if (snapshot_id === "") throw invalid("snapshot_id", "is missing");
    const id = parseSnapshotId(snapshot_id);
    if (!id) return {}; // no snapshot of ours has such an id: it is as good as deleted
    await copies.cancel(id);
    await lock.run([id, snapshotKey(id)], async () => {
      const found = await findSnapshot(files, pools.all, id);
      if (!found) {
        for (const pool of pools.all) await confirmSnapshotAbsence(files, await pool.use(), id);
        return;
      }
      sources.requireRemovable(id);
      call.check();
      const unique = deps.randomUuid().slice(0, 8);
      await deleteSnapshot({ files, nowMs: deps.clock.nowMs(), unique }, found.pool, id);
    });
    return {};
  };
}
