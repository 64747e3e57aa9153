/** CreateVolume: the same name gives the same volume, however often it is asked for and whatever failed in between. */
import type { Call } from "../call.ts";
import { nodeTopology } from "../topology.ts";
import type { CreateVolumeRequest, WireContentSource } from "../wire.ts";
import { type ContentDeps, makeCopy, parseContentSource, type WantedCopy } from "./content-source.ts";
import { parseCreateVolume, type WantedVolume } from "./decode.ts";
import { makeVolume } from "./new-volume.ts";

/** The handler of CreateVolume (specification, "CreateVolume"). */
export function createVolumeHandler(deps: ContentDeps) {
  const topology = nodeTopology(deps.nodeId);
  return async (request: CreateVolumeRequest, call: Call) => {
    const { source, ...wanted } = parseCreateVolume(request, topology);
    const record = source
      ? await makeCopy(deps, copyOf(source, wanted), call)
      : await deps.lock.run([`name ${wanted.name}`], () => makeVolume(deps, wanted, call));
    call.about(record.id);
    const { id, sizeBytes } = record;
    const volume = { volume_id: id, capacity_bytes: String(sizeBytes), accessible_topology: [topology] };
    return { volume: source ? { ...volume, content_source: source } : volume };
  };
}

function copyOf(source: WireContentSource, wanted: Omit<WantedVolume, "source">): WantedCopy {
  const { consistency = "point-in-time" } = wanted.parameters;
  return { source: parseContentSource(source), wanted, consistency };
}
