/** The Controller service: creates and deletes the volumes of this node, and offers nothing that it does not do. */
import { isKind } from "../errors.ts";
import type { Mounts } from "../host/mount.ts";
import type { Call, Handler } from "./call.ts";
import { parseCapabilities } from "./capability.ts";
import { type ControllerDeps, createVolumeHandler } from "./controller/create-volume.ts";
import { isWithin, mountsWithin, placeOf } from "./node/mount-state.ts";
import { dataDirectory } from "./pool/layout.ts";
import type { FoundVolume } from "./pool/pools.ts";
import { invalid, refusal } from "./refusal.ts";
import { confirmAbsence, deleteVolume } from "./volume/delete.ts";
import { parseVolumeId, type VolumeId } from "./volume/id.ts";
import type { DeleteVolumeRequest, ValidateVolumeCapabilitiesRequest } from "./wire.ts";

/** `mounts` tells whether a volume is in use before it is deleted. */
export interface ControllerServiceDeps extends ControllerDeps {
  readonly mounts: Mounts;
  randomUuid(): string;
}

/** The handlers of the service by method; what is missing here is refused by `driver.ts`. */
export function createController(deps: ControllerServiceDeps) {
  return {
    CreateVolume: createVolumeHandler(deps),
    DeleteVolume: deleteHandler(deps),
    ValidateVolumeCapabilities: validateHandler(deps),
    ControllerGetCapabilities: async () => ({ capabilities: [{ rpc: { type: "CREATE_DELETE_VOLUME" } }] }),
  } satisfies Record<string, Handler<never>>;
}

function deleteHandler(deps: ControllerServiceDeps) {
  return async ({ volume_id }: DeleteVolumeRequest, call: Call) => {
    if (volume_id === "") throw invalid("volume_id", "is missing");
    const id = parseVolumeId(volume_id);
    if (!id) return {}; // no volume of ours has such an id: it is as good as deleted
    call.about(id);
    await deps.lock.run([id], async () => {
      const found = await deps.pools.find(id);
      if (!found) {
        for (const pool of deps.pools.all) await confirmAbsence(deps.files, await pool.use(), id);
        return;
      }
      await requireUnused(deps.mounts, found, id);
      call.check();
      const unique = deps.randomUuid().slice(0, 8);
      await deleteVolume({ files: deps.files, nowMs: deps.clock.nowMs(), unique }, found.pool, id);
    });
    return {};
  };
}

/** A volume that is mounted anywhere on the node must not disappear below its pod, nor what is mounted in it. */
async function requireUnused(mounts: Mounts, { pool }: FoundVolume, id: VolumeId): Promise<void> {
  const table = await mounts.list();
  const data = dataDirectory(pool.layout, id);
  const place = placeOf(table, data);
  const [user] = place ? mountsWithin(table, place) : [];
  if (user) {
    throw refusal("precondition", id, `volume ${id} is in use: it is mounted at ${user.mountPoint}`);
  }
  const guest = table.find(({ mountPoint }) => isWithin(mountPoint, data));
  if (guest) {
    throw refusal(
      "precondition",
      id,
      `volume ${id} is in use: something is mounted in it, at ${guest.mountPoint}: unmount that first`,
    );
  }
}

function validateHandler({ pools }: ControllerServiceDeps) {
  return async (request: ValidateVolumeCapabilitiesRequest, call: Call) => {
    if (request.volume_id === "") throw invalid("volume_id", "is missing");
    if (request.volume_capabilities.length === 0)
      throw invalid("volume_capabilities", "is empty: name at least one");
    const id = parseVolumeId(request.volume_id);
    if (id) call.about(id);
    if (!id || !(await pools.find(id))) {
      throw refusal("not-found", request.volume_id, `there is no volume "${request.volume_id}"`);
    }
    try {
      parseCapabilities(request.volume_capabilities);
    } catch (error) {
      // "Not supported" is an answer here: a response without `confirmed`, with the reason.
      if (isKind(error, "invalid")) return { message: error.message };
      throw error;
    }
    const { volume_context, volume_capabilities, parameters, mutable_parameters } = request;
    return { confirmed: { volume_context, volume_capabilities, parameters, mutable_parameters } };
  };
}
