/** A volume in the hands of the node service: its place on the disk, its backend, and what its mounts carry. */
import type { BindFlag } from "../../host/mount.ts";
import type { Backend, PlacedVolume } from "../backend/backend.ts";
import type { Capability } from "../capability.ts";
import type { FoundVolume } from "../pool/pools.ts";
import { invalid, refusal } from "../refusal.ts";
import type { VolumeRecord } from "../volume/record.ts";

/** On every volume whose class says nothing: a tenant's set-user-id program or device node is none of the host's. */
const defaultFlags: readonly BindFlag[] = ["nosuid", "nodev"];

/** A volume, ready to be attached. */
export interface ShownVolume {
  readonly placed: PlacedVolume;
  readonly backend: Backend;
}

/** From what the pools found. */
export function shownVolume({ pool, record }: FoundVolume): ShownVolume {
  return { placed: pool.place(record), backend: pool.backendOf(record) };
}

/** What the mounts of the volume carry: the flags of its class, and those that were asked for. */
export function effectiveFlags({ mountFlags }: VolumeRecord, { flags }: Capability): readonly BindFlag[] {
  return [...new Set([...(mountFlags ?? defaultFlags), ...flags])];
}

/**
 * Throws `precondition` for a capability that the volume does not have (specification, "Exceeds capabilities"), and
 * `invalid` for another file system than it holds.
 */
export function requireCapable({ placed: { record } }: ShownVolume, { access, fsType }: Capability): void {
  const own = record.access ?? "mount";
  if (own !== access) {
    const message = `volume ${record.id} was made for access type ${own}, not ${access}`;
    throw refusal("precondition", record.id, message);
  }
  if (fsType === undefined || fsType === record.fsType) return;
  const holds = record.fsType ?? "the file system of its pool";
  throw invalid("volume_capability.mount.fs_type", `is "${fsType}", but the volume has ${holds}`);
}
