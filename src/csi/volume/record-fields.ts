/**
 * The fields that a record may have or lack. One that is there and wrong makes the whole record unusable: a limit or
 * an owner that is guessed is worse than a volume that waits for a person. Pure.
 */
import type { BindFlag } from "../../host/mount.ts";
import { backendNames } from "../backend/backend.ts";
import type { VolumeRecord } from "./record.ts";

/** A record as JSON has it. */
export type Fields = Readonly<Record<string, unknown>>;

type Optional = Omit<VolumeRecord, "id" | "name" | "pool" | "sizeBytes" | "created">;

const mountFlags: readonly BindFlag[] = ["nosuid", "nodev", "noexec", "noatime", "nodiratime"];
const ID_MAX = 0xffff_fffe;
const MODE_MAX = 0o7777;

const isText = (value: unknown): value is string => typeof value === "string" && value !== "";
const isNumber = (value: unknown, max: number): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0 && value <= max;
const fieldsOf = (value: unknown): Fields => Object(value) as Fields;
const isOneOf = (values: readonly string[], value: unknown) => values.some((known) => known === value);
const isPlain = (value: unknown) => typeof value === "object" && value !== null && !Array.isArray(value);

const checks: Readonly<Record<keyof Optional, (value: unknown) => boolean>> = {
  claim: (value) => isText(fieldsOf(value).namespace) && isText(fieldsOf(value).name),
  backend: (value) => isOneOf(backendNames, value),
  access: (value) => isOneOf(["mount", "block"], value),
  fsType: (value) => isText(value) && /^[a-z0-9]{1,16}$/.test(value),
  owner(value) {
    const { mode, uid, gid } = fieldsOf(value);
    return isNumber(mode, MODE_MAX) && isNumber(uid, ID_MAX) && isNumber(gid, ID_MAX);
  },
  mountFlags: (value) => Array.isArray(value) && value.every((flag) => isOneOf(mountFlags, flag)),
  onDelete(value) {
    const { policy, retentionSeconds } = fieldsOf(value);
    const isBounded = retentionSeconds === undefined || isNumber(retentionSeconds, Number.MAX_SAFE_INTEGER);
    return isOneOf(["delete", "trash", "retain"], policy) && isBounded;
  },
  inodes: (value) => isNumber(value, Number.MAX_SAFE_INTEGER) && value > 0,
  projectId: (value) => isNumber(value, ID_MAX) && value > 0,
  source: (value) => isOneOf(["volume", "snapshot"], fieldsOf(value).kind) && isText(fieldsOf(value).id),
  browse: (value) => isText(value) && value.split("/").every((name) => !["", ".", ".."].includes(name)),
  ephemeral: (value) => isText(fieldsOf(value).volumeId) && isText(fieldsOf(value).target),
};

const objects: readonly (keyof Optional)[] = ["claim", "owner", "onDelete", "source", "ephemeral"];

/** Those that are there; `wrong` names the first that cannot be right. Fields of later releases are left out. */
export function parseOptionalFields(fields: Fields): { readonly known: Optional; readonly wrong?: string } {
  const known: Record<string, unknown> = {};
  for (const key of Object.keys(checks) as (keyof Optional)[]) {
    const value = fields[key];
    if (value === undefined) continue;
    if ((objects.includes(key) && !isPlain(value)) || !checks[key](value)) return { known: {}, wrong: key };
    known[key] = value;
  }
  return { known: known as Optional };
}
