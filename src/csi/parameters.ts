/**
 * The parameters of a StorageClass: one table, from which requests are parsed and the documentation is written. Whoever
 * misspells one is told so when the first volume is made, not when the disk is full. Pure.
 */
import type { BindFlag } from "../host/mount.ts";
import { duration, inodeCount, ownerId, mode as parseMode, yesNo } from "./parameter-values.ts";
import { poolNamePattern } from "./pool/config.ts";
import { invalid } from "./refusal.ts";
import { type Consistency, parseConsistency } from "./snapshot/consistency.ts";
import type { VolumeRecord } from "./volume/record.ts";
import type { WireMap } from "./wire.ts";

/** What a class may ask for by `backend`. */
export const backendWishes = ["quota", "image", "directory"] as const;
/** One of `backendWishes`. */
export type BackendWish = (typeof backendWishes)[number];

/** One row of the documentation. */
export interface ParameterRow {
  readonly key: string;
  readonly values: string;
  /** What holds without it. */
  readonly default: string;
  readonly meaning: string;
  /** Whether the inline volume of a pod may have it as an attribute. */
  readonly inline: boolean;
}

/** Every parameter that there is, in the order of the documentation. */
export const parameterRows: readonly ParameterRow[] = [
  row(
    "pool",
    "names, separated by commas",
    "as the node's `poolChoice` says",
    "pools that the volume may lie in",
    true,
  ),
  row("backend", backendWishes.join(", "), "any", "only pools of this kind", true),
  row("fsType", "ext4, xfs, btrfs", "the backend's first", "the file system in an `image` volume", true),
  row("mode", "an octal number in quotes", '"0777"', "mode of the volume's top directory", true),
  row("uid", "a number in quotes", '"0"', "its owner", true),
  row("gid", "a number in quotes", '"0"', "its group", true),
  row("nosuid", "true, false", '"true"', "set-user-id programs in the volume have no effect", false),
  row("nodev", "true, false", '"true"', "device nodes in the volume have no effect", false),
  row("noexec", "true, false", '"false"', "programs in the volume cannot be run", true),
  row("onDelete", "delete, trash, retain", "delete", "what DeleteVolume does with the data", false),
  row("trashRetention", "such as 12h or 7d", "24h", "how long `trash` keeps the data", false),
  row(
    "inodes",
    "a number in quotes",
    "no limit",
    "files and directories that fit, where the backend limits",
    true,
  ),
  row(
    "consistency",
    "point-in-time, per-file",
    "point-in-time",
    "whether a clone of a volume in use may be made file by file, where the backend has no other way",
    false,
  ),
  row(
    "namePattern",
    "such as {namespace}/{claim}",
    "none",
    "a link in the pool's `by-name`, for people",
    false,
  ),
];

function row(key: string, values: string, absent: string, meaning: string, inline: boolean): ParameterRow {
  return { key, values, default: absent, meaning, inline };
}

/** Of the kubelet's and the sidecars' own keys. external-provisioner takes them out of CreateVolume, not out of GetCapacity. */
export const SIDECAR_PREFIX = "csi.storage.k8s.io/";
const FS_TYPE_KEY = "csi.storage.k8s.io/fstype";

/** What external-provisioner adds with `--extra-create-metadata`; it describes, and decides nothing. */
const metadata = {
  claimName: "csi.storage.k8s.io/pvc/name",
  claimNamespace: "csi.storage.k8s.io/pvc/namespace",
  volumeName: "csi.storage.k8s.io/pv/name",
} as const;

/** A class, understood. What is absent was not asked for. */
export interface ClassParameters {
  readonly pools?: readonly string[];
  readonly backend?: BackendWish;
  readonly fsType?: string;
  readonly owner?: NonNullable<VolumeRecord["owner"]>;
  readonly mountFlags?: readonly BindFlag[];
  readonly onDelete?: NonNullable<VolumeRecord["onDelete"]>;
  readonly inodes?: number;
  /** Of clones of volumes that are in use. */
  readonly consistency?: Consistency;
  readonly claim?: NonNullable<VolumeRecord["claim"]>;
  /** `namePattern` with everything filled in: a relative path. */
  readonly browse?: string;
}

const policies = ["delete", "trash", "retain"] as const;
const DEFAULT_RETENTION_SECONDS = 24 * 3_600;

/** How the keys are called in messages, and which there may be. */
export interface ParameterSource {
  /** `parameters`, or `volume_context` for an inline volume. */
  readonly field: string;
  readonly allowed: readonly string[];
  /** Keys that are known and mean nothing here. */
  readonly ignored: (key: string) => boolean;
  /** Whether an unknown key is named without its value, which may be anything. */
  readonly isPrivate?: boolean;
}

const classSource: ParameterSource = {
  field: "parameters",
  allowed: parameterRows.map(({ key }) => key),
  ignored: (key) => Object.values<string>(metadata).includes(key),
};

/** A class as it stands in the cluster, with its sidecars' keys; the file system among them is read (GetCapacity). */
export function parseWholeClass(map: WireMap): ClassParameters & { readonly sidecarFsType?: string } {
  const ignored = (key: string) => key.startsWith(SIDECAR_PREFIX);
  const parameters = parseParameters(map, { ...classSource, ignored });
  const sidecarFsType = map[FS_TYPE_KEY];
  return sidecarFsType ? { ...parameters, sidecarFsType } : parameters;
}

/** Throws `invalid`, naming key and value, for what is unknown or cannot be understood. */
export function parseParameters(map: WireMap, source: ParameterSource = classSource): ClassParameters {
  for (const [key, value] of Object.entries(map)) {
    if (source.allowed.includes(key) || source.ignored(key)) continue;
    const known = source.allowed.join(", ");
    const given = source.isPrivate ? "is given" : `is "${value}"`;
    throw invalid(`${source.field}.${key}`, `${given}, but there is no such parameter: known are ${known}`);
  }
  const get = <T>(key: string, parse: (field: string, text: string) => T): T | undefined => {
    const text = map[key];
    return text === undefined ? undefined : parse(`${source.field}.${key}`, text);
  };
  const claim = claimOf(map);
  return definedOnly({
    pools: get("pool", parsePools),
    backend: get("backend", (field, text) => oneOf(field, text, backendWishes)),
    fsType: get("fsType", (field, text) => oneOf(field, text, ["ext4", "xfs", "btrfs"])),
    owner: ownerOf(get("mode", parseMode), get("uid", ownerId), get("gid", ownerId)),
    mountFlags: flagsOf(get("nosuid", yesNo), get("nodev", yesNo), get("noexec", yesNo)),
    onDelete: onDeleteOf(source, map, get),
    inodes: get("inodes", inodeCount),
    consistency: get("consistency", parseConsistency),
    claim,
    browse: get("namePattern", (field, text) =>
      fillPattern(field, text, { claim, volume: map[metadata.volumeName] }),
    ),
  });
}

type Getter = <T>(key: string, parse: (field: string, text: string) => T) => T | undefined;

/** Without the keys whose value is undefined. */
function definedOnly<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}

function parsePools(field: string, text: string): readonly string[] {
  const names = text.split(",");
  if (names.every((name) => poolNamePattern.test(name))) return names;
  throw invalid(field, `is "${text}": give the name of a pool, or several with commas between them`);
}

function oneOf<T extends string>(field: string, text: string, values: readonly T[]): T {
  const found = values.find((value) => value === text);
  if (found !== undefined) return found;
  throw invalid(field, `is "${text}": known are ${values.join(", ")}`);
}

function ownerOf(mode?: number, uid?: number, gid?: number): ClassParameters["owner"] {
  if (mode === undefined && uid === undefined && gid === undefined) return undefined;
  return { mode: mode ?? 0o777, uid: uid ?? 0, gid: gid ?? 0 };
}

function flagsOf(nosuid?: boolean, nodev?: boolean, noexec?: boolean): ClassParameters["mountFlags"] {
  if (nosuid === undefined && nodev === undefined && noexec === undefined) return undefined;
  const flags: BindFlag[] = [];
  if (nosuid ?? true) flags.push("nosuid");
  if (nodev ?? true) flags.push("nodev");
  if (noexec ?? false) flags.push("noexec");
  return flags;
}

function onDeleteOf({ field }: ParameterSource, map: WireMap, get: Getter): ClassParameters["onDelete"] {
  const policy = get("onDelete", (name, text) => oneOf(name, text, policies));
  const retentionSeconds = get("trashRetention", duration);
  if (policy === "trash") return { policy, retentionSeconds: retentionSeconds ?? DEFAULT_RETENTION_SECONDS };
  if (retentionSeconds !== undefined) {
    throw invalid(
      `${field}.trashRetention`,
      `is "${map.trashRetention}", which means nothing without onDelete: trash`,
    );
  }
  return policy === undefined ? undefined : { policy };
}

function claimOf(map: WireMap): ClassParameters["claim"] {
  const [name, namespace] = [map[metadata.claimName], map[metadata.claimNamespace]];
  return name && namespace ? { namespace, name } : undefined;
}

interface Names {
  readonly claim: ClassParameters["claim"];
  readonly volume: string | undefined;
}

/** Names of Kubernetes objects and plain text of the administrator: no component can lead out of the directory. */
const componentPattern = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,252}$/;

function fillPattern(field: string, pattern: string, { claim, volume }: Names): string {
  const values = new Map([
    ["{namespace}", claim?.namespace],
    ["{claim}", claim?.name],
    ["{volume}", volume],
  ]);
  const filled = pattern.replaceAll(/\{[^{}]*\}/g, (token) => {
    const value = values.get(token);
    if (value !== undefined && value !== "") return value;
    const why = values.has(token)
      ? `${token} is not known: external-provisioner tells it with --extra-create-metadata`
      : `it may hold ${[...values.keys()].join(", ")}`;
    throw invalid(field, `is "${pattern}": ${why}`);
  });
  if (filled.split("/").every((name) => componentPattern.test(name))) return filled;
  throw invalid(
    field,
    `is "${pattern}", which gives "${filled}": give names of letters, digits, ".", "_" and "-"`,
  );
}
