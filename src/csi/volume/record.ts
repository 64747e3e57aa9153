/** `meta.json`: all that is known of a volume, beside its data. Pure; strict, because a wrong guess here loses data. */
import type { BindFlag } from "../../host/mount.ts";
import type { AccessType, BackendName } from "../backend/backend.ts";
import { refusal } from "../refusal.ts";
import type { VolumeId } from "./id.ts";
import { type Fields, parseOptionalFields } from "./record-fields.ts";

/** Raised when a field changes its meaning. A record from the future is quarantined, not misread. */
const FORMAT_VERSION = 1;

/** One volume. Fields may be added; none may change its meaning. */
export interface VolumeRecord {
  readonly id: VolumeId;
  /** The name of the CreateVolume request. */
  readonly name: string;
  readonly pool: string;
  readonly sizeBytes: number;
  /** The claim that it was made for, where the provisioner tells (`--extra-create-metadata`). */
  readonly claim?: { readonly namespace: string; readonly name: string };
  /** ISO 8601. */
  readonly created: string;
  /** Absent: `directory`. */
  readonly backend?: BackendName;
  /** Absent: `mount`. */
  readonly access?: AccessType;
  /** The file system within an image. */
  readonly fsType?: string;
  /** The class's `mode`, `uid` and `gid` of the volume's top directory. Absent: 0777, 0, 0. */
  readonly owner?: { readonly mode: number; readonly uid: number; readonly gid: number };
  /** What every mount of it carries. Absent: nosuid and nodev. */
  readonly mountFlags?: readonly BindFlag[];
  /** Absent: `delete`. With `trash`, what was deleted is kept for so many seconds. */
  readonly onDelete?: { readonly policy: "delete" | "trash" | "retain"; readonly retentionSeconds?: number };
  /** The class's limit of inodes. */
  readonly inodes?: number;
  /** The project of its quota. */
  readonly projectId?: number;
  /** What it was made from. */
  readonly source?: { readonly kind: "volume" | "snapshot"; readonly id: string };
  /** Its link below `by-name`, for people: a relative path. Nothing is found through it. */
  readonly browse?: string;
  /** The inline volume of a pod: the id that the kubelet gave it, and where it was published. */
  readonly ephemeral?: { readonly volumeId: string; readonly target: string };
}

/** The content of `meta.json`, readable for people too. */
export function encodeRecord(record: VolumeRecord): Buffer {
  return Buffer.from(`${JSON.stringify({ formatVersion: FORMAT_VERSION, ...record }, undefined, 2)}\n`);
}

/**
 * The record of the volume `id`. Throws `precondition`, with the reason, for anything but a whole record of this very
 * volume: a torn file, another volume's, one from a later release.
 */
export function parseRecord(content: Buffer, id: VolumeId): VolumeRecord {
  let fields: Fields;
  try {
    fields = Object(JSON.parse(content.toString())) as Fields;
  } catch (error) {
    throw unreadable(id, "it is no JSON", error);
  }
  const { formatVersion, name, pool, sizeBytes, created } = fields;
  if (formatVersion !== FORMAT_VERSION)
    throw unreadable(id, `its format version is ${String(formatVersion)}`);
  if (fields.id !== id) {
    throw unreadable(id, `it is the record of ${String(fields.id)}`);
  }
  if (typeof name !== "string" || typeof pool !== "string" || typeof created !== "string") {
    throw unreadable(id, "name, pool or created is missing");
  }
  if (typeof sizeBytes !== "number" || !Number.isSafeInteger(sizeBytes) || sizeBytes <= 0) {
    throw unreadable(id, `its sizeBytes is ${String(sizeBytes)}`);
  }
  const { known, wrong } = parseOptionalFields(fields);
  if (wrong !== undefined) throw unreadable(id, `its ${wrong} cannot be right`);
  return { id, name, pool, sizeBytes, created, ...known };
}

/** The size in a record that is otherwise unusable, 0 where there is none: what is set apart still takes its room. */
export function salvageSize(content: Buffer): number {
  const digits = /"sizeBytes":\s*(\d{1,16})\b/.exec(content.toString())?.[1];
  const bytes = Number(digits ?? 0);
  return Number.isSafeInteger(bytes) ? bytes : 0;
}

function unreadable(id: VolumeId, why: string, cause?: unknown) {
  return refusal(
    "precondition",
    id,
    `the record of volume ${id} cannot be used: ${why}; the volume is quarantined until meta.json is repaired`,
    cause,
  );
}
