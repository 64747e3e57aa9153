/** A snapshot as the specification's message. Pure. */
import type { SnapshotRecord } from "./record.ts";

const MS_PER_S = 1_000;
const NS_PER_MS = 1_000_000;

/** Snapshot, as answers carry it. `size_bytes` is what a volume made from it has at least. */
export function snapshotToWire({ id, source, sizeBytes, created }: SnapshotRecord): object {
  const createdMs = Date.parse(created);
  return {
    snapshot_id: id,
    source_volume_id: source.id,
    size_bytes: String(sizeBytes),
    creation_time: {
      seconds: String(Math.floor(createdMs / MS_PER_S)),
      nanos: (createdMs % MS_PER_S) * NS_PER_MS,
    },
    ready_to_use: true,
  };
}
