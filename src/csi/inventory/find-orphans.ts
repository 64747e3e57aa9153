/**
 * Compares what is on the disk with the PersistentVolumes of the cluster and with the mount table. Pure. When in doubt a
 * thing is no orphan: where the PersistentVolumes are not known nothing lacks one, and what a pool holds that is away is
 * not missing.
 */
import type { DiskFacts, Orphan, PersistentVolumeFacts, VolumeView } from "./facts.ts";

/** How the comparison is made. */
export interface CompareOptions {
  /** All of this driver in the cluster; undefined where nobody could tell. */
  readonly persistentVolumes: readonly PersistentVolumeFacts[] | undefined;
  /** A provisioner makes the volume first: a younger one may be getting its PersistentVolume just now. */
  readonly graceMs: number;
}

/** What does not fit together, in the order of its kinds. */
export function findOrphans(disk: DiskFacts, options: CompareOptions): readonly Orphan[] {
  return [
    ...withoutPersistentVolume(disk, options),
    ...withoutVolume(disk, options),
    ...leftInStaging(disk),
    ...mountsOfDeleted(disk),
    ...loopsOfMissing(disk),
    ...setApart(disk),
  ];
}

/** Whether PersistentVolumes are known and none is of this node, though there are volumes: perhaps another cluster's. */
export function isSuspicious(disk: DiskFacts, { persistentVolumes }: CompareOptions): boolean {
  if (!persistentVolumes) return false;
  const handles = new Set(persistentVolumes.map(({ handle }) => handle));
  const own = disk.volumes.filter(isLive);
  return own.length > 0 && !own.some(({ id }) => handles.has(id));
}

const isLive = ({ state, inline }: VolumeView): boolean =>
  !inline && !["quarantined", "trash", "retained"].includes(state);

function withoutPersistentVolume(
  { volumes, nowMs }: DiskFacts,
  { persistentVolumes, graceMs }: CompareOptions,
): Orphan[] {
  if (!persistentVolumes) return [];
  const handles = new Set(persistentVolumes.map(({ handle }) => handle));
  const isYoung = ({ created }: VolumeView) => !(nowMs - Date.parse(created ?? "") >= graceMs);
  return volumes
    .filter((volume) => isLive(volume) && !handles.has(volume.id) && !isYoung(volume))
    .map((volume) => {
      const isUsed = volume.published.length + volume.staged.length > 0;
      const where = volume.published[0] ?? volume.staged[0];
      return {
        kind: "volume without PersistentVolume",
        subject: volume.id,
        ...about(volume),
        detail: isUsed ? `still mounted at ${where}` : "no PersistentVolume has this handle",
        removal: isUsed ? "no" : "yes",
      };
    });
}

function about({ pool, claim, sizeBytes }: VolumeView): Pick<Orphan, "pool" | "claim" | "sizeBytes"> {
  return {
    pool,
    ...(claim === undefined ? {} : { claim }),
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
  };
}

function withoutVolume(disk: DiskFacts, { persistentVolumes = [] }: CompareOptions): Orphan[] {
  // It may lie in a pool that cannot be looked into.
  if (disk.away.length > 0) return [];
  const present = new Map<string, VolumeView>();
  for (const volume of disk.volumes) {
    if (!present.has(volume.id) || isLive(volume)) present.set(volume.id, volume);
  }
  return persistentVolumes
    .filter(({ nodes }) => nodes.includes(disk.node))
    .flatMap(({ name, handle, phase, claim }): Orphan[] => {
      const found = present.get(handle);
      if (found && isLive(found)) return [];
      if (found?.state === "quarantined") return []; // told as such
      const detail = found
        ? `its volume ${handle} was deleted: "trivet storage undelete ${handle}" brings it back`
        : `${phase}: its volume ${handle} is not on this node; "kubectl delete pv ${name}" forgets it`;
      return [
        {
          kind: "PersistentVolume without volume",
          subject: name,
          ...(claim === undefined ? {} : { claim }),
          ...{ detail, removal: "no" },
        },
      ];
    });
}

function leftInStaging({ leftovers }: DiskFacts): Orphan[] {
  return leftovers.map(({ pool, name }) => ({
    kind: "left in staging",
    subject: `${pool}/${name}`,
    pool,
    detail: "nobody is making it: the next start removes it",
    removal: "yes",
  }));
}

function mountsOfDeleted({ mounts, volumes, away }: DiskFacts): Orphan[] {
  const live = new Set(
    volumes.filter(({ state }) => !["trash", "retained"].includes(state)).map(({ id }) => id),
  );
  return mounts
    .filter(({ id, isDeleted }) => isDeleted || (away.length === 0 && !live.has(id)))
    .map(({ id, mountPoint }) => ({
      kind: "mount of a deleted volume",
      subject: mountPoint,
      detail: `shows volume ${id}, which is not there any more`,
      removal: "yes",
    }));
}

function loopsOfMissing({ loops }: DiskFacts): Orphan[] {
  return loops
    .filter(({ isMissing }) => isMissing)
    .map(({ device, file }) => ({
      kind: "loop device of a missing image",
      subject: device,
      detail: `shows ${file}, which is gone: "losetup --detach ${device}" gives its space back`,
      removal: "no",
    }));
}

function setApart({ volumes }: DiskFacts): Orphan[] {
  return volumes.flatMap((volume): Orphan[] => {
    if (volume.state === "quarantined") {
      const detail = volume.detail ?? "its record cannot be used";
      return [{ kind: "quarantined", subject: volume.id, ...about(volume), detail, removal: "no" }];
    }
    if (volume.state !== "retained") return [];
    const detail = `kept as its class says: "trivet storage undelete ${volume.id}" brings it back`;
    return [
      { kind: "retained", subject: volume.entry ?? volume.id, ...about(volume), detail, removal: "named" },
    ];
  });
}
