/** The Controller service: the volumes of this node and their snapshots, and what room is left. */
import { isKind } from "../errors.ts";
import type { Call, Handler } from "./call.ts";
import { type Capability, parseCapabilities } from "./capability.ts";
import type { ContentDeps } from "./controller/content-source.ts";
import { createSnapshotHandler, type SnapshotDeps } from "./controller/create-snapshot.ts";
import { createVolumeHandler } from "./controller/create-volume.ts";
import { deleteSnapshotHandler } from "./controller/delete-snapshot.ts";
import { type DeleteVolumeDeps, deleteVolumeHandler } from "./controller/delete-volume.ts";
import { getCapacityHandler } from "./controller/get-capacity.ts";
import { getVolumeHandler } from "./controller/get-volume.ts";
import { getSnapshotHandler, listSnapshotsHandler } from "./controller/list-snapshots.ts";
import { listVolumesHandler } from "./controller/list-volumes.ts";
import { requireCapable, shownVolume } from "./node/shown-volume.ts";
import type { FoundVolume } from "./pool/pools.ts";
import { invalid, refusal } from "./refusal.ts";
import { parseVolumeId } from "./volume/id.ts";
import type { ValidateVolumeCapabilitiesRequest } from "./wire.ts";

/** All that the service takes. */
export type ControllerServiceDeps = DeleteVolumeDeps & ContentDeps & SnapshotDeps;

const capabilities = [
  ...["CREATE_DELETE_VOLUME", "LIST_VOLUMES", "GET_CAPACITY", "SINGLE_NODE_MULTI_WRITER"],
  ...["GET_VOLUME", "VOLUME_CONDITION", "CREATE_DELETE_SNAPSHOT", "LIST_SNAPSHOTS", "CLONE_VOLUME"],
];

/** The handlers of the service by method; what is missing here is refused by `driver.ts`. */
export function createController(
  deps: ControllerServiceDeps,
  { getSnapshot }: { readonly getSnapshot: boolean },
) {
  const offered = getSnapshot ? [...capabilities, "GET_SNAPSHOT"] : capabilities;
  return {
    CreateVolume: createVolumeHandler(deps),
    DeleteVolume: deleteVolumeHandler(deps),
    ListVolumes: listVolumesHandler(deps),
    ControllerGetVolume: getVolumeHandler(deps),
    GetCapacity: getCapacityHandler(deps),
    CreateSnapshot: createSnapshotHandler(deps),
    DeleteSnapshot: deleteSnapshotHandler(deps),
    ListSnapshots: listSnapshotsHandler(deps),
    ...(getSnapshot ? { GetSnapshot: getSnapshotHandler(deps) } : {}),
    ValidateVolumeCapabilities: validateHandler(deps),
    ControllerGetCapabilities: async () => ({
      capabilities: offered.map((type) => ({ rpc: { type } })),
    }),
  } satisfies Record<string, Handler<never>>;
}

function validateHandler({ pools }: ControllerServiceDeps) {
  return async (request: ValidateVolumeCapabilitiesRequest, call: Call) => {
    if (request.volume_id === "") throw invalid("volume_id", "is missing");
    if (request.volume_capabilities.length === 0)
      throw invalid("volume_capabilities", "is empty: name at least one");
    const id = parseVolumeId(request.volume_id);
    if (id) call.about(id);
    const found = id && (await pools.find(id));
    if (!found) throw refusal("not-found", request.volume_id, `there is no volume "${request.volume_id}"`);
    try {
      requireAll(found, parseCapabilities(request.volume_capabilities));
    } catch (error) {
      // "Not supported" is an answer here: a response without `confirmed`, with the reason.
      if (isKind(error, "invalid", "precondition")) return { message: error.message };
      throw error;
    }
    const { volume_context, volume_capabilities, parameters, mutable_parameters } = request;
    return { confirmed: { volume_context, volume_capabilities, parameters, mutable_parameters } };
  };
}

function requireAll(found: FoundVolume, wanted: readonly Capability[]): void {
  for (const capability of wanted) requireCapable(shownVolume(found), capability);
}
