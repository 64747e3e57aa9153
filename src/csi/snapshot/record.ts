/**
 * `meta.json` of a snapshot: the record of a volume, but for its id, and always with a source. So backends copy to and
 * from a snapshot as they do with volumes. Pure.
 */
import { refusal } from "../refusal.ts";
import type { VolumeId } from "../volume/id.ts";
import { parseRecord, type VolumeRecord } from "../volume/record.ts";
import type { SnapshotId } from "./id.ts";

/** One snapshot. `sizeBytes` is the size of its volume when it was cut: what is made from it has at least that. */
export interface SnapshotRecord extends Omit<VolumeRecord, "id" | "source"> {
  readonly id: SnapshotId;
  readonly source: { readonly kind: "volume"; readonly id: string };
}

/** What a new snapshot is given. */
export interface Cut {
  readonly id: SnapshotId;
  readonly name: string;
  readonly created: string;
}

/** The record of a snapshot of `volume`. What concerns the life of the volume only, such as `onDelete`, is left out. */
export function snapshotRecordOf(volume: VolumeRecord, cut: Cut): SnapshotRecord {
  const { pool, sizeBytes, claim, backend, access, fsType, owner, mountFlags, inodes } = volume;
  return {
    ...{ id: cut.id, name: cut.name, pool, sizeBytes },
    ...(claim ? { claim } : {}),
    created: cut.created,
    ...(backend ? { backend } : {}),
    ...(access ? { access } : {}),
    ...(fsType === undefined ? {} : { fsType }),
    ...(owner ? { owner } : {}),
    ...(mountFlags ? { mountFlags } : {}),
    ...(inodes === undefined ? {} : { inodes }),
    source: { kind: "volume", id: volume.id },
  };
}

/** As backends take it: they look at the content, and name the id in messages. */
export function asContent(record: SnapshotRecord): VolumeRecord {
  return { ...record, id: record.id as string as VolumeId };
}

/** The record that a backend has completed. */
export function fromContent(content: VolumeRecord): SnapshotRecord {
  const { source } = content;
  if (source?.kind !== "volume") {
    throw refusal(
      "precondition",
      content.id,
      `the record of snapshot ${content.id} does not say of which volume it is`,
    );
  }
  return { ...content, id: content.id as string as SnapshotId, source: { kind: "volume", id: source.id } };
}

/** Throws `precondition`, with the reason, for anything but a whole record of this very snapshot. */
export function parseSnapshotRecord(content: Buffer, id: SnapshotId): SnapshotRecord {
  return fromContent(parseRecord(content, id as string as VolumeId));
}
