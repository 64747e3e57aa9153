/** Requests with sensible values for everything that a rule does not talk about. */

export const MIB = 2 ** 20;

export function capability(mode = "SINGLE_NODE_WRITER", flags: readonly string[] = []): object {
  return { mount: { mount_flags: flags }, access_mode: { mode } };
}

export const blockCapability = { block: {}, access_mode: { mode: "SINGLE_NODE_WRITER" } };

export function createRequest(name: string, changes: object = {}): object {
  return {
    name,
    volume_capabilities: [capability()],
    capacity_range: { required_bytes: 10 * MIB },
    ...changes,
  };
}

/** Where the kubelet of a target stages a volume. The driver stages what is published without having been. */
export function stagingFor(volumeId: string, target: string): string {
  const root = target.split("/pods/")[0] ?? "";
  return `${root}/staging-${volumeId.slice(0, 100).replaceAll(/[^a-z0-9-]/g, "_")}`;
}

export function publishRequest(volumeId: string, target: string, changes: object = {}): object {
  return {
    ...{ volume_id: volumeId, target_path: target, staging_target_path: stagingFor(volumeId, target) },
    ...{ volume_capability: capability(), ...changes },
  };
}

export interface Volume {
  readonly volume_id: string;
  readonly capacity_bytes: string;
  readonly accessible_topology: readonly { readonly segments: Readonly<Record<string, string>> }[];
}

export interface CreateVolumeResponse {
  readonly volume: Volume;
}

/** An id of the right form that no volume has. */
export const unusedId = `tv-${"a".repeat(8)}-${"a".repeat(26)}`;

/** Ids that no volume can have, some of them meant ill. */
export const oddIds = [
  "x",
  "../../etc",
  "none/of/ours",
  "a".repeat(200),
  "tv-../..",
  "\u{1F600}",
  "tv-aaaaaaaa-",
];
