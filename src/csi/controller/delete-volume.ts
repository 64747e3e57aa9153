/** DeleteVolume: out of sight durably, and then as the class of the volume says: removed, kept for a while, or kept. */
import type { Mounts } from "../../host/mount.ts";
import type { Call } from "../call.ts";
import { isWithin, mountsWithin } from "../node/mount-state.ts";
import { unlinkByName } from "../pool/by-name.ts";
import { wrapperOf } from "../pool/layout.ts";
import type { FoundVolume } from "../pool/pools.ts";
import { invalid, refusal } from "../refusal.ts";
import type { Sources } from "../snapshot/sources.ts";
import { confirmAbsence, deleteVolume } from "../volume/delete.ts";
import { parseVolumeId } from "../volume/id.ts";
import type { DeleteVolumeRequest } from "../wire.ts";
import type { ControllerDeps } from "./new-volume.ts";

/** `mounts` tells whether a volume is in use before it is deleted. */
export interface DeleteVolumeDeps extends ControllerDeps {
  readonly mounts: Mounts;
  /** Tells whether it is being copied. */
  readonly sources: Sources;
  randomUuid(): string;
}

/** The handler of DeleteVolume (specification, "DeleteVolume"). */
export function deleteVolumeHandler(deps: DeleteVolumeDeps) {
  return async ({ volume_id }: DeleteVolumeRequest, call: Call) => {
    if (volume_id === "") throw invalid("volume_id", "is missing");
    const id = parseVolumeId(volume_id);
    if (!id) return {}; // no volume of ours has such an id: it is as good as deleted
    call.about(id);
    await deps.lock.run([id], async () => {
      const found = await deps.pools.find(id);
      if (found) return removeVolume(deps, found, call);
      for (const pool of deps.pools.all) await confirmAbsence(deps.files, await pool.use(), id);
    });
    return {};
  };
}

/** Refuses while anything shows it. Whoever calls this holds the lock of the volume. */
export async function removeVolume(deps: DeleteVolumeDeps, found: FoundVolume, call: Call): Promise<void> {
  const { pool, record } = found;
  await requireUnused(deps.mounts, found);
  deps.sources.requireRemovable(record.id);
  call.check();
  const unique = deps.randomUuid().slice(0, 8);
  await deleteVolume({ files: deps.files, nowMs: deps.clock.nowMs(), unique }, pool, record);
  await unlinkByName(deps, pool.layout, record);
}

/** A volume that is mounted anywhere on the node must not disappear below its pod, nor what is mounted in it. */
async function requireUnused(mounts: Mounts, { pool, record }: FoundVolume): Promise<void> {
  const wrapper = wrapperOf(pool.layout, record.id);
  const [table, source] = await Promise.all([
    mounts.list(),
    // A volume whose data were removed by hand cannot be shown, and may go.
    pool
      .backendOf(record)
      .attached(pool.place(record))
      .catch(() => undefined),
  ]);
  const [user] = source ? mountsWithin(table, source) : [];
  if (user) {
    const message = `volume ${record.id} is in use: it is mounted at ${user.mountPoint}`;
    throw refusal("precondition", record.id, message);
  }
  const guest = table.find(({ mountPoint }) => isWithin(mountPoint, wrapper));
  if (guest) {
    const message = `volume ${record.id} is in use: something is mounted in it, at ${guest.mountPoint}: unmount that first`;
    throw refusal("precondition", record.id, message);
  }
}
