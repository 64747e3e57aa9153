/**
 * CreateVolume from a snapshot or from another volume. The copy is made where its source lies, by the same backend, and
 * in the background where it takes long: a retry with the same name waits for the same copy.
 */

import type { PlacedVolume } from "../backend/backend.ts";
import type { Call } from "../call.ts";
import type { OpenPool } from "../pool/pool.ts";
import { invalid, refusal } from "../refusal.ts";
import { type Consistency, type ReadingDeps, whileReadable } from "../snapshot/consistency.ts";
import type { Copies, CopyTurn } from "../snapshot/copies.ts";
import { isMadeOn, parseSnapshotId } from "../snapshot/id.ts";
import { findSnapshot, placeSnapshot } from "../snapshot/read.ts";
import { parseVolumeId } from "../volume/id.ts";
import type { VolumeRecord } from "../volume/record.ts";
import type { WireContentSource } from "../wire.ts";
import { type ControllerDeps, findByName, makeVolume, type Wanted } from "./new-volume.ts";

/** What copies take beyond what empty volumes take. */
export interface ContentDeps extends ControllerDeps, ReadingDeps {
  readonly copies: Copies;
}

/** What a volume is to be made from: decoded, not yet looked for. */
export type ContentSource = NonNullable<VolumeRecord["source"]>;

/** Throws `invalid` for a source that is neither, or has no id. */
export function parseContentSource({ snapshot, volume }: WireContentSource): ContentSource {
  if (snapshot) {
    if (snapshot.snapshot_id === "")
      throw invalid("volume_content_source.snapshot.snapshot_id", "is missing");
    return { kind: "snapshot", id: snapshot.snapshot_id };
  }
  if (volume) {
    if (volume.volume_id === "") throw invalid("volume_content_source.volume.volume_id", "is missing");
    return { kind: "volume", id: volume.volume_id };
  }
  throw invalid("volume_content_source", "is of no kind that is offered: give a snapshot or a volume");
}

/** A volume that is to be a copy. */
export interface WantedCopy {
  readonly source: ContentSource;
  readonly wanted: Omit<Wanted, "content">;
  readonly consistency: Consistency;
}

/** The record of the copy, durable; `busy` while it is being made. */
export async function makeCopy(deps: ContentDeps, copy: WantedCopy, call: Call): Promise<VolumeRecord> {
  const { source, wanted } = copy;
  const key = `name ${wanted.name}`;
  call.check();
  const kind = source.kind === "snapshot" ? "restore" : "clone";
  return deps.copies.run({ key, kind, from: source.id }, (turn) =>
    deps.lock.run([key], async () => {
      // The copy goes on when its caller is gone, and ends when it is given up.
      const own: Call = { ...call, check: turn.check };
      const present = await findByName(deps, wanted.name);
      if (!present) return makeNew(deps, { ...copy, turn, own });
      // Its source may be gone by now: what counts is what the volume was made from.
      const { name: pool } = present.pool;
      return makeVolume(
        deps,
        { ...wanted, content: { pool, source, minimumBytes: 0, fill: neverFilled } },
        own,
      );
    }),
  );
}

async function neverFilled(): Promise<never> {
  throw new Error("a volume that exists is not filled");
}

interface NewCopy extends WantedCopy {
  readonly turn: CopyTurn;
  readonly own: Call;
}

async function makeNew(deps: ContentDeps, copy: NewCopy): Promise<VolumeRecord> {
  const { source, wanted, turn, own } = copy;
  const content = await findContent(deps, copy);
  requireSameKind(content, wanted);
  const { pool, record, whileReadable: read } = content;
  return turn.inTurn(pool.name, () =>
    read((from) => {
      const fsType = wanted.fsType ?? record.fsType;
      return makeVolume(
        deps,
        {
          ...wanted,
          fsType,
          content: {
            ...{ pool: pool.name, source, minimumBytes: record.sizeBytes },
            fill: (placed) => pool.backendOf(record).copy(placed, from, turn),
          },
        },
        own,
      );
    }),
  );
}

/** A source that is there. */
interface Content {
  readonly pool: OpenPool;
  readonly record: VolumeRecord;
  whileReadable<T>(copy: (from: PlacedVolume) => Promise<T>): Promise<T>;
}

/** `not-found` for an unknown id, `exhausted` for one of another node: the pod is then scheduled again, elsewhere. */
async function findContent(deps: ContentDeps, copy: WantedCopy): Promise<Content> {
  const { source } = copy;
  const id = parseVolumeId(source.id) ?? parseSnapshotId(source.id);
  if (id && !isMadeOn(deps.nodeId, id)) {
    const message = `${source.kind} ${source.id} lies on another node: a volume can be made from it only there`;
    throw refusal("exhausted", source.id, message);
  }
  const found = source.kind === "snapshot" ? await findCut(deps, copy) : await findVolume(deps, copy);
  if (found) return found;
  throw refusal("not-found", source.id, `there is no ${source.kind} "${source.id}" on this node`);
}

async function findCut(deps: ContentDeps, { source, wanted }: WantedCopy): Promise<Content | undefined> {
  const id = parseSnapshotId(source.id);
  const found = id && (await findSnapshot(deps.files, deps.pools.all, id));
  if (!found) return undefined;
  const placed = placeSnapshot(found.pool, found.record);
  return {
    ...{ pool: found.pool, record: placed.record },
    async whileReadable(copy) {
      // Under its lock, so that it is not being deleted; a snapshot that is being read cannot be.
      const release = await deps.lock.run([found.record.id], async () => {
        const isThere = await findSnapshot(deps.files, deps.pools.all, found.record.id);
        if (!isThere) throw refusal("not-found", source.id, `snapshot ${source.id} has just been deleted`);
        return deps.sources.read(found.record.id, { what: wanted.name, keepUnused: false });
      });
      return copy(placed).finally(release);
    },
  };
}

async function findVolume(deps: ContentDeps, copy: WantedCopy): Promise<Content | undefined> {
  const id = parseVolumeId(copy.source.id);
  const found = id && (await deps.pools.find(id));
  if (!found) return undefined;
  const { consistency, wanted } = copy;
  const reading = { found, consistency, what: wanted.name, className: "StorageClass" } as const;
  return { ...found, whileReadable: (read) => whileReadable(deps, reading, read) };
}

/** A copy is made of the same stuff as its source: what it is to be instead has to be said no to, by name. */
function requireSameKind({ pool, record }: Content, wanted: Omit<Wanted, "content">): void {
  const { parameters, access, fsType } = wanted;
  const own = record.access ?? "mount";
  if (parameters.pools && !parameters.pools.includes(pool.name)) {
    const why = `is "${parameters.pools.join(",")}", but the source lies in pool "${pool.name}": a copy is made where its source is`;
    throw invalid("parameters.pool", why);
  }
  if (own !== access) throw invalid("volume_capabilities", `ask for ${access}, but the source is for ${own}`);
  if (fsType !== undefined && fsType !== record.fsType) {
    throw invalid(
      "parameters.fsType",
      `is "${fsType}", but the source has ${record.fsType ?? "that of its pool"}`,
    );
  }
  const backend = record.backend ?? "directory";
  if (backend !== pool.backend.name) {
    const why = `was made by backend ${backend}, and pool "${pool.name}" makes ${pool.backend.name} volumes now: a copy is made by the same backend`;
    throw invalid("volume_content_source", why);
  }
}
