/** CreateVolume: the same name gives the same volume, however often it is asked for and whatever failed in between. */
import type { Call } from "../call.ts";
import { invalid } from "../refusal.ts";
import { nodeTopology } from "../topology.ts";
import type { CreateVolumeRequest } from "../wire.ts";
import { parseCreateVolume } from "./decode.ts";
import { type ControllerDeps, makeVolume } from "./new-volume.ts";

/** The handler of CreateVolume (specification, "CreateVolume"). */
export function createVolumeHandler(deps: ControllerDeps) {
  const topology = nodeTopology(deps.nodeId);
  return async (request: CreateVolumeRequest, call: Call) => {
    const { source, ...wanted } = parseCreateVolume(request, topology);
    if (source) throw invalid("volume_content_source", "is not offered: this driver makes empty volumes");
    const record = await deps.lock.run([`name ${wanted.name}`], () => makeVolume(deps, wanted, call));
    call.about(record.id);
    const { id, sizeBytes } = record;
    return { volume: { volume_id: id, capacity_bytes: String(sizeBytes), accessible_topology: [topology] } };
  };
}
