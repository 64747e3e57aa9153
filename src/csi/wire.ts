/**
 * The requests as `host/proto.ts` delivers them: every scalar, list and map is there, messages only when they were
 * set, 64-bit numbers are strings. Only the fields that this driver reads; `secrets` is left out on purpose.
 */

/** `map<string, string>`. */
export type WireMap = Readonly<Record<string, string>>;

/** VolumeCapability. `block` and `mount` are one `oneof`; enums are names. */
export interface WireCapability {
  readonly block: object | null;
  readonly mount: {
    readonly fs_type: string;
    readonly mount_flags: readonly string[];
    readonly volume_mount_group: string;
  } | null;
  readonly access_mode: { readonly mode: string } | null;
}

/** Topology: where something can be reached, all segments together. */
export interface WireTopology {
  readonly segments: WireMap;
}

/** CapacityRange: 64-bit numbers as decimal text, "0" for "any". */
export interface WireCapacityRange {
  readonly required_bytes: string;
  readonly limit_bytes: string;
}

/** VolumeContentSource: one `oneof`. */
export interface WireContentSource {
  readonly snapshot: { readonly snapshot_id: string } | null;
  readonly volume: { readonly volume_id: string } | null;
}

/** The request of external-provisioner for a claim. */
export interface CreateVolumeRequest {
  readonly name: string;
  readonly capacity_range: WireCapacityRange | null;
  readonly volume_capabilities: readonly WireCapability[];
  readonly parameters: WireMap;
  readonly volume_content_source: WireContentSource | null;
  readonly accessibility_requirements: {
    readonly requisite: readonly WireTopology[];
    readonly preferred: readonly WireTopology[];
  } | null;
  readonly mutable_parameters: WireMap;
}

/** The request of external-provisioner for a released volume. */
export interface DeleteVolumeRequest {
  readonly volume_id: string;
}

/** A question, not a change: what is confirmed is sent back as it came. */
export interface ValidateVolumeCapabilitiesRequest {
  readonly volume_id: string;
  readonly volume_context: WireMap;
  readonly volume_capabilities: readonly WireCapability[];
  readonly parameters: WireMap;
  readonly mutable_parameters: WireMap;
}

/** Numbers of a page of a list; an empty token for the first. */
export interface ListVolumesRequest {
  readonly max_entries: number;
  readonly starting_token: string;
}

/** What external-provisioner asks for every class and topology segment. */
export interface GetCapacityRequest {
  readonly volume_capabilities: readonly WireCapability[];
  readonly parameters: WireMap;
  readonly accessible_topology: WireTopology | null;
}

/** One volume, by its id. */
export interface ControllerGetVolumeRequest {
  readonly volume_id: string;
}

/** The request of the kubelet before the first pod of the node gets the volume. */
export interface NodeStageVolumeRequest {
  readonly volume_id: string;
  readonly staging_target_path: string;
  readonly volume_capability: WireCapability | null;
}

/** The request of the kubelet after the last pod of the node has lost the volume. */
export interface NodeUnstageVolumeRequest {
  readonly volume_id: string;
  readonly staging_target_path: string;
}

/** The request of the kubelet for a pod that is to have the volume. */
export interface NodePublishVolumeRequest {
  readonly volume_id: string;
  readonly staging_target_path: string;
  readonly target_path: string;
  readonly volume_capability: WireCapability | null;
  readonly readonly: boolean;
  readonly volume_context: WireMap;
}

/** Asked by the kubelet about once a minute for every volume of a pod. */
export interface NodeGetVolumeStatsRequest {
  readonly volume_id: string;
  readonly volume_path: string;
  readonly staging_target_path: string;
}

/** The request of the kubelet when a claim has been enlarged. */
export interface NodeExpandVolumeRequest {
  readonly volume_id: string;
  readonly volume_path: string;
  readonly capacity_range: WireCapacityRange | null;
}

/** The request of the kubelet for a pod that is gone. */
export interface NodeUnpublishVolumeRequest {
  readonly volume_id: string;
  readonly target_path: string;
}

/** The request of external-snapshotter for a VolumeSnapshot. */
export interface CreateSnapshotRequest {
  readonly source_volume_id: string;
  readonly name: string;
  readonly parameters: WireMap;
}

/** The request of external-snapshotter for a VolumeSnapshotContent that is to go. */
export interface DeleteSnapshotRequest {
  readonly snapshot_id: string;
}

/** Numbers of a page of a list, and filters; empty texts for all. */
export interface ListSnapshotsRequest {
  readonly max_entries: number;
  readonly starting_token: string;
  readonly source_volume_id: string;
  readonly snapshot_id: string;
}

/** One snapshot, by its id. */
export interface GetSnapshotRequest {
  readonly snapshot_id: string;
}
