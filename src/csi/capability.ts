/** How a volume is to be used: access type, access mode and mount flags of a VolumeCapability. Pure. */
import type { BindFlag } from "../host/mount.ts";
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

/** What a user may ask for, and nothing else: the other mount options belong to file systems, not to directories. */
const allowedFlags = ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime"] as const;
/** On every volume: a tenant's set-user-id program or device node is nothing that the host should honour. */
const defaultFlags = ["nosuid", "nodev"] as const;

/** What a capability comes down to for a directory: who may use it, and with which mount flags. */
export interface Capability {
  readonly accessMode: AccessMode;
  readonly readOnly: boolean;
  readonly flags: readonly BindFlag[];
}

/** At least one capability, each of which this driver can serve; otherwise `invalid`, naming the field. */
export function parseCapabilities(capabilities: readonly WireCapability[]): readonly Capability[] {
  if (capabilities.length === 0) throw invalid("volume_capabilities", "is empty: name at least one");
  return capabilities.map((one, index) => parseCapability(`volume_capabilities[${index}]`, one));
}

/** One capability; `field` is its name in the request. */
export function parseCapability(field: string, { block, mount, access_mode }: WireCapability): Capability {
  if (block) {
    throw invalid(`${field}.block`, "is not offered by directory pools: use volumeMode Filesystem");
  }
  if (!mount) throw invalid(`${field}.access_type`, "is missing: give mount");
  if (mount.fs_type !== "") {
    throw invalid(
      `${field}.mount.fs_type`,
      `is "${mount.fs_type}": a directory has the file system of its pool, leave it empty`,
    );
  }
  if (mount.volume_mount_group !== "") {
    throw invalid(`${field}.mount.volume_mount_group`, "is not offered: see NodeGetCapabilities");
  }
  const accessMode = accessModes.find((mode) => mode === access_mode?.mode);
  if (!accessMode) {
    const given = access_mode ? `is ${access_mode.mode}` : "is missing";
    throw invalid(`${field}.access_mode`, `${given}: a local volume serves ${accessModes.join(", ")}`);
  }
  const flags = mount.mount_flags.map((flag, index) =>
    parseFlag(`${field}.mount.mount_flags[${index}]`, flag),
  );
  return {
    accessMode,
    readOnly: accessMode === "SINGLE_NODE_READER_ONLY" || flags.includes("ro"),
    flags: [...new Set([...defaultFlags, ...flags.filter((flag) => flag !== "ro")])],
  };
}

/** Names the place, not the flag: the specification counts mount flags as sensitive. */
function parseFlag(field: string, flag: string): (typeof allowedFlags)[number] {
  const known = allowedFlags.find((allowed) => allowed === flag);
  if (known) return known;
  throw invalid(field, `is not allowed: use ${allowedFlags.join(", ")}`);
}
