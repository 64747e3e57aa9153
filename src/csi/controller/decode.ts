/** CreateVolumeRequest -> what is wanted. Pure: every field is either understood or refused by name. */
import { parseCapabilities } from "../capability.ts";
import { type CapacityRange, parseCapacityRange } from "../capacity.ts";
import { invalid } from "../refusal.ts";
import { requireReachable } from "../topology.ts";
import type { CreateVolumeRequest, WireMap, WireTopology } from "../wire.ts";

/** The specification's limit for strings: no caller may rely on more. */
const MAX_NAME_BYTES = 128;
/** external-provisioner adds these three with `--extra-create-metadata`; they describe, and decide nothing. */
const metadata = {
  claimName: "csi.storage.k8s.io/pvc/name",
  claimNamespace: "csi.storage.k8s.io/pvc/namespace",
  volumeName: "csi.storage.k8s.io/pv/name",
} as const;

/** A request in which every field was understood. */
export interface WantedVolume {
  readonly name: string;
  readonly range: CapacityRange;
  /** The class's `pool` parameter. */
  readonly pool: string | undefined;
  readonly claim?: { readonly namespace: string; readonly name: string };
}

/** `own` is this node's topology. Throws `invalid`, `range`, or `exhausted` where the volume belongs elsewhere. */
export function parseCreateVolume(request: CreateVolumeRequest, own: WireTopology): WantedVolume {
  const name = parseName(request.name);
  parseCapabilities(request.volume_capabilities);
  const range = parseCapacityRange(request.capacity_range);
  if (request.volume_content_source) {
    throw invalid("volume_content_source", "is not offered: this driver makes empty volumes");
  }
  const [mutable] = Object.entries(request.mutable_parameters);
  if (mutable)
    throw invalid(`mutable_parameters.${mutable[0]}`, `is "${mutable[1]}": no parameter can be changed`);
  const wanted = { name, range, ...parseParameters(request.parameters) };
  requireReachable(request.accessibility_requirements, own);
  return wanted;
}

function parseName(name: string): string {
  if (name === "") throw invalid("name", "is missing");
  if (Buffer.byteLength(name) > MAX_NAME_BYTES)
    throw invalid("name", `is longer than ${MAX_NAME_BYTES} bytes`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what the specification forbids
  if (/[\u0000-\u001f\u007f-\u009f]/.test(name)) throw invalid("name", "holds a control character");
  return name;
}

/** The parameters of the StorageClass. */
function parseParameters(parameters: WireMap): Pick<WantedVolume, "pool" | "claim"> {
  const { pool, ...others } = parameters;
  const known: readonly string[] = Object.values(metadata);
  const unknown = Object.entries(others).find(([key]) => !known.includes(key));
  if (unknown) {
    throw invalid(
      `parameters.${unknown[0]}`,
      `is "${unknown[1]}", but there is no such parameter: known is pool`,
    );
  }
  if (pool === "") throw invalid("parameters.pool", 'is "": name a pool, or leave the parameter out');
  const [name, namespace] = [parameters[metadata.claimName], parameters[metadata.claimNamespace]];
  return { pool, ...(name && namespace ? { claim: { namespace, name } } : {}) };
}
