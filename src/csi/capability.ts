/** How a volume is to be used: access type, access mode, file system, group and mount flags of a VolumeCapability. Pure. */
import type { BindFlag } from "../host/mount.ts";
import type { AccessType } from "./backend/backend.ts";
import { invalid } from "./refusal.ts";
import type { WireCapability } from "./wire.ts";

/** A disk of one node serves one node: the MULTI_NODE modes are refused. */
const accessModes = [
  "SINGLE_NODE_WRITER",
  "SINGLE_NODE_READER_ONLY",
  "SINGLE_NODE_SINGLE_WRITER",
  "SINGLE_NODE_MULTI_WRITER",
] as const;
/** The modes that can be served (specification, VolumeCapability.AccessMode). */
export type AccessMode = (typeof accessModes)[number];

/** What a user may ask for, and nothing else: other mount options are none that a tenant's volume needs. */
export const allowedFlags = ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime"] as const;
/** A group id, as the kubelet writes a pod's fsGroup; the last number means "none" to the kernel. */
const MAX_GROUP = 0xffff_fffe;

/** What a capability comes down to. */
export interface Capability {
  readonly access: AccessType;
  readonly accessMode: AccessMode;
  readonly readOnly: boolean;
  /** Asked for, beside those that the class of the volume puts on every mount. */
  readonly flags: readonly BindFlag[];
  readonly fsType?: string;
  /** The group that is to own the top directory (VOLUME_MOUNT_GROUP). */
  readonly group?: number;
}

/** At least one capability, each of which this driver can serve; otherwise `invalid`, naming the field. */
export function parseCapabilities(capabilities: readonly WireCapability[]): readonly Capability[] {
  if (capabilities.length === 0) throw invalid("volume_capabilities", "is empty: name at least one");
  return capabilities.map((one, index) => parseCapability(`volume_capabilities[${index}]`, one));
}

/** One capability; `field` is its name in the request. */
export function parseCapability(field: string, { block, mount, access_mode }: WireCapability): Capability {
  const accessMode = accessModes.find((mode) => mode === access_mode?.mode);
  if (!accessMode) {
    const given = access_mode ? `is ${access_mode.mode}` : "is missing";
    throw invalid(`${field}.access_mode`, `${given}: a local volume serves ${accessModes.join(", ")}`);
  }
  const isReader = accessMode === "SINGLE_NODE_READER_ONLY";
  if (block) return { access: "block", accessMode, readOnly: isReader, flags: [] };
  if (!mount) throw invalid(`${field}.access_type`, "is missing: give mount or block");
  const flags = mount.mount_flags.map((flag, index) =>
    parseFlag(`${field}.mount.mount_flags[${index}]`, flag),
  );
  const group = parseGroup(`${field}.mount.volume_mount_group`, mount.volume_mount_group);
  return {
    ...{ access: "mount", accessMode, readOnly: isReader || flags.includes("ro") },
    flags: [...new Set(flags.filter((flag) => flag !== "ro"))],
    ...(mount.fs_type === "" ? {} : { fsType: mount.fs_type }),
    ...(group === undefined ? {} : { group }),
  };
}

/** Names the place, not the flag: the specification counts mount flags as sensitive. */
function parseFlag(field: string, flag: string): (typeof allowedFlags)[number] {
  const known = allowedFlags.find((allowed) => allowed === flag);
  if (known) return known;
  throw invalid(field, `is not allowed: use ${allowedFlags.join(", ")}`);
}

function parseGroup(field: string, text: string): number | undefined {
  if (text === "") return undefined;
  const group = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (group <= MAX_GROUP) return group;
  throw invalid(field, `is "${text}": give the number of a group`);
}
