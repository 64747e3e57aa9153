/** CreateVolumeRequest -> what is wanted. Pure: every field is either understood or refused by name. */
import type { AccessType } from "../backend/backend.ts";
import { type Capability, parseCapabilities } from "../capability.ts";
import { type CapacityRange, parseCapacityRange } from "../capacity.ts";
import { type ClassParameters, parseParameters, parseWholeClass } from "../parameters.ts";
import { invalid } from "../refusal.ts";
import { requireReachable } from "../topology.ts";
import type {
  CreateVolumeRequest,
  WireCapability,
  WireContentSource,
  WireMap,
  WireTopology,
} from "../wire.ts";

/** The specification's limit for strings: no caller may rely on more. */
const MAX_NAME_BYTES = 128;

/** What a class and its capabilities ask of a pool. */
export interface WantedKind {
  readonly parameters: ClassParameters;
  readonly access: AccessType;
  /** From the class's `fsType`, or from the capability (`csi.storage.k8s.io/fstype`). */
  readonly fsType: string | undefined;
}

/** A request in which every field was understood. */
export interface WantedVolume extends WantedKind {
  readonly name: string;
  readonly range: CapacityRange;
  /** Undecoded: an empty volume where it is absent. */
  readonly source: WireContentSource | undefined;
}

/** `own` is this node's topology. Throws `invalid`, `range`, or `exhausted` where the volume belongs elsewhere. */
export function parseCreateVolume(request: CreateVolumeRequest, own: WireTopology): WantedVolume {
  const name = parseName(request.name);
  const capabilities = parseCapabilities(request.volume_capabilities);
  const range = parseCapacityRange(request.capacity_range);
  const [mutable] = Object.entries(request.mutable_parameters);
  if (mutable)
    throw invalid(`mutable_parameters.${mutable[0]}`, `is "${mutable[1]}": no parameter can be changed`);
  const kind = kindOf(parseParameters(request.parameters), capabilities);
  requireReachable(request.accessibility_requirements, own);
  return { name, range, ...kind, source: request.volume_content_source ?? undefined };
}

/** The same of a question about capacity, where capabilities may be left out, and the class is as it stands. */
export function parseKind(map: WireMap, wire: readonly WireCapability[]): WantedKind {
  const { sidecarFsType, ...parameters } = parseWholeClass(map);
  const capabilities = wire.length === 0 ? [] : parseCapabilities(wire);
  const kind = kindOf(parameters, capabilities);
  // Of the two file systems that a class may name for mounted volumes, CreateVolume gets this one in its capability.
  const fsType = kind.fsType ?? (kind.access === "mount" ? sidecarFsType : undefined);
  return { ...kind, fsType };
}

function kindOf(parameters: ClassParameters, capabilities: readonly Capability[]): WantedKind {
  const [access = "mount", ...others] = new Set(capabilities.map((one) => one.access));
  if (others.length > 0)
    throw invalid("volume_capabilities", "ask for mount and block: a volume is one of them");
  const asked = capabilities.flatMap(({ fsType }) => fsType ?? []);
  const [fsType, other] = new Set([
    ...(parameters.fsType === undefined ? [] : [parameters.fsType]),
    ...asked,
  ]);
  if (other !== undefined) {
    throw invalid("volume_capabilities", `and parameters ask for two file systems: ${fsType} and ${other}`);
  }
  if (access === "block" && parameters.fsType !== undefined) {
    throw invalid("parameters.fsType", `is "${parameters.fsType}", but a block volume has no file system`);
  }
  return { parameters, access, fsType };
}

/** The `name` of a request, as it came; `invalid` where it is missing, too long, no text, or holds a control character. */
export function parseName(name: string): string {
  if (name === "") throw invalid("name", "is missing");
  if (Buffer.byteLength(name) > MAX_NAME_BYTES)
    throw invalid("name", `is longer than ${MAX_NAME_BYTES} bytes`);
  // Hashed, all such names would be one.
  if (!name.isWellFormed()) throw invalid("name", "is no Unicode text");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what the specification forbids
  if (/[\u0000-\u001f\u007f-\u009f]/.test(name)) throw invalid("name", "holds a control character");
  return name;
}
