/** The names of what was deleted or released: the volume, when, and a part that makes the name one of its own. Pure. */
import type { SnapshotId } from "../snapshot/id.ts";
import { parseVolumeId, type VolumeId } from "../volume/id.ts";
import type { VolumeRecord } from "../volume/record.ts";

/** What the name of an entry says. */
export interface TrashName {
  readonly id: VolumeId;
  readonly deletedMs: number;
}

/** `<id>.<milliseconds>.<unique>`. */
export function trashName(id: VolumeId | SnapshotId, nowMs: number, unique: string): string {
  return `${id}.${nowMs}.${unique}`;
}

/** Undefined for a name that is none: what has one was not put there by the driver. */
export function parseTrashName(name: string): TrashName | undefined {
  const [, text, digits] = /^([^.]+)\.(\d{1,15})\.[0-9a-f]+$/.exec(name) ?? [];
  const id = parseVolumeId(text ?? "");
  return id && digits ? { id, deletedMs: Number(digits) } : undefined;
}

/** The last moment that a Date can name: what is kept for longer is kept until then. */
const LAST_MS = 8_640_000_000_000_000;

/** When a deleted volume may be removed; undefined for at once. */
export function keepUntilMs(name: string, { onDelete }: Pick<VolumeRecord, "onDelete">): number | undefined {
  const parsed = parseTrashName(name);
  if (!parsed || onDelete?.policy !== "trash") return undefined;
  return Math.min(LAST_MS, parsed.deletedMs + (onDelete.retentionSeconds ?? 0) * 1_000);
}

/** The ledger's key of what lies in the trash under `entry`. */
export function trashKey(entry: string): string {
  return `trash/${entry}`;
}

/** The ledger's key of a volume that was released and kept. */
export function retainedKey(entry: string): string {
  return `retained/${entry}`;
}

/** The ledger's key of what lies in `volumes` and cannot be used. */
export function quarantineKey(name: string): string {
  return `quarantine/${name}`;
}

/** The ledger's key of a snapshot. */
export function snapshotKey(id: string): string {
  return `snapshot/${id}`;
}

/** How many keys of each sort there are; volumes have their plain id. */
export function countKeys(keys: Iterable<string>): { readonly volumes: number; readonly trashed: number } {
  let [volumes, trashed] = [0, 0];
  for (const key of keys) {
    if (key.startsWith("trash/")) trashed += 1;
    else if (!key.includes("/")) volumes += 1;
  }
  return { volumes, trashed };
}
