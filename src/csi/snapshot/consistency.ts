/**
 * Holds a volume still while it is copied, as far as its backend needs that: one that copies at one moment by itself has
 * the volume for the time of the copy; another copies only what nobody uses, and sees to it that this stays so, unless
 * the class is content with one moment per file.
 */
import type { Mounts } from "../../host/mount.ts";
import type { PlacedVolume } from "../backend/backend.ts";
import type { KeyedLock } from "../keyed-lock.ts";
import { mountsWithin } from "../node/mount-state.ts";
import type { FoundVolume } from "../pool/pools.ts";
import { invalid, refusal } from "../refusal.ts";
import type { WireMap } from "../wire.ts";
import type { Sources } from "./sources.ts";

/** What the `consistency` of a class may be. */
export const consistencies = ["point-in-time", "per-file"] as const;
/** One of `consistencies`; the first is the default. */
export type Consistency = (typeof consistencies)[number];

/** The value of a `consistency` parameter; `invalid`, naming it, for what is unknown. */
export function parseConsistency(field: string, text: string): Consistency {
  const found = consistencies.find((known) => known === text);
  if (found) return found;
  throw invalid(field, `is "${text}": known are ${consistencies.join(", ")}`);
}

/** What external-snapshotter adds with `--extra-create-metadata`; it describes, and decides nothing. */
const metadata: readonly string[] = [
  "csi.storage.k8s.io/volumesnapshot/name",
  "csi.storage.k8s.io/volumesnapshot/namespace",
  "csi.storage.k8s.io/volumesnapshotcontent/name",
];

/** The parameters of a VolumeSnapshotClass. Throws `invalid`, naming key and value, for what is unknown. */
export function parseSnapshotParameters(parameters: WireMap): { readonly consistency: Consistency } {
  for (const [key, value] of Object.entries(parameters)) {
    if (key === "consistency" || metadata.includes(key)) continue;
    throw invalid(`parameters.${key}`, `is "${value}", but there is no such parameter: known is consistency`);
  }
  const { consistency } = parameters;
  return {
    consistency:
      consistency === undefined ? "point-in-time" : parseConsistency("parameters.consistency", consistency),
  };
}

/** What reading a volume takes. `lock` is the one of the whole process. */
export interface ReadingDeps {
  readonly mounts: Mounts;
  readonly lock: KeyedLock;
  readonly sources: Sources;
}

/** What is to be read, and what for. */
export interface Reading {
  readonly found: FoundVolume;
  readonly consistency: Consistency;
  /** The id of what is being made. */
  readonly what: string;
  /** The class, as messages call it: where `consistency` can be set. */
  readonly className: "StorageClass" | "VolumeSnapshotClass";
}

/** Runs `copy` while the volume may be read: `busy` if it is at work, `precondition` if it is in use and must not be. */
export async function whileReadable<T>(
  { mounts, lock, sources }: ReadingDeps,
  reading: Reading,
  copy: (from: PlacedVolume) => Promise<T>,
): Promise<T> {
  const { found, consistency, what } = reading;
  const { pool, record } = found;
  const placed = pool.place(record);
  if (pool.backendOf(record).consistentCopies) return lock.run([record.id], () => copy(placed));
  const keepUnused = consistency === "point-in-time";
  const release = await lock.run([record.id], async () => {
    if (keepUnused) await requireUnused(mounts, reading);
    return sources.read(record.id, { what, keepUnused });
  });
  try {
    return await copy(placed);
  } finally {
    release();
  }
}

async function requireUnused(mounts: Mounts, { found, className }: Reading): Promise<void> {
  const { pool, record } = found;
  const source = await pool.backendOf(record).attached(pool.place(record));
  const [user] = source ? mountsWithin(await mounts.list(), source) : [];
  if (!user) return;
  const message = `volume ${record.id} is in use (mounted at ${user.mountPoint}), and pool "${pool.name}" cannot copy it at one moment then: stop its pods, or set consistency: per-file in the ${className} if a moment of its own for each file is enough`;
  throw refusal("precondition", record.id, message);
}
