/** Looks at every volume of every pool that is there: its record, what it holds, and where it is mounted. Changes nothing. */
import { join } from "node:path";
import type { Files } from "../../host/files.ts";
import type { MountInfo, Mounts } from "../../host/mount.ts";
import { forEachBounded } from "../bounded.ts";
import { isWithin, mountsWithin } from "../node/mount-state.ts";
import type { OpenPool } from "../pool/pool.ts";
import type { Pools } from "../pool/pools.ts";
import type { DeletedVolumes } from "../volume/deleted-volumes.ts";
import { parseVolumeId } from "../volume/id.ts";
import { readVolume } from "../volume/read.ts";
import type { VolumeRecord } from "../volume/record.ts";
import type { Deleted } from "../volume/undelete.ts";
import type { VolumeView } from "./facts.ts";

/** Where volumes are looked for. */
export interface ReadVolumesDeps {
  readonly files: Files;
  readonly mounts: Pick<Mounts, "list">;
  readonly pools: Pools;
  readonly deleted: DeletedVolumes;
  readonly kubeletRoot: string;
}

/** Volumes looked at at once. */
const READS = 16;

/** All that there are, and those that can be brought back; by pool and id. Pools that are away are left out. */
export async function readVolumes(deps: ReadVolumesDeps): Promise<readonly VolumeView[]> {
  const table = await deps.mounts.list();
  const views: VolumeView[] = [];
  for (const { use } of deps.pools.all) {
    const pool = await use().catch(() => undefined);
    if (pool) views.push(...(await readPool(deps, pool, table)));
  }
  views.push(...(await deps.deleted.list()).map(viewOfDeleted));
  return views.sort((a, b) => a.pool.localeCompare(b.pool) || a.id.localeCompare(b.id));
}

async function readPool(
  deps: ReadVolumesDeps,
  pool: OpenPool,
  table: readonly MountInfo[],
): Promise<VolumeView[]> {
  const views: VolumeView[] = [];
  await forEachBounded(await deps.files.list(pool.layout.volumes), READS, async ({ name }) => {
    const id = parseVolumeId(name);
    const quarantined = (detail: string) =>
      views.push({ id: name, pool: pool.name, state: "quarantined", detail, published: [], staged: [] });
    if (!id) return void quarantined(pool.quarantined.get(name) ?? "its name is no volume id");
    try {
      const record = await readVolume(deps.files, pool.layout, id);
      if (record) views.push(await viewOf(deps, { pool, record, table }));
    } catch (error) {
      quarantined((error as Error).message);
    }
  });
  return views;
}

interface Looked {
  readonly pool: OpenPool;
  readonly record: VolumeRecord;
  readonly table: readonly MountInfo[];
}

async function viewOf(
  { kubeletRoot }: ReadVolumesDeps,
  { pool, record, table }: Looked,
): Promise<VolumeView> {
  const [backend, placed] = [pool.backendOf(record), pool.place(record)];
  const source = await backend.attached(placed).catch(() => undefined);
  const points = source ? mountsWithin(table, source).map(({ mountPoint }) => mountPoint) : [];
  const published = points.filter((path) => isWithin(path, join(kubeletRoot, "pods")));
  const staged = points.filter((path) => !published.includes(path));
  const problem = await backend.problem(placed).catch((error: Error) => error.message);
  // A directory shows the whole disk: that is nothing about this volume.
  const usage = backend.enforced ? await backend.usage(placed, points[0]).catch(() => undefined) : undefined;
  const state = published.length > 0 ? "published" : staged.length > 0 ? "staged" : "idle";
  return {
    ...{ id: record.id, pool: pool.name, state: problem === undefined ? state : "abnormal" },
    ...(problem === undefined ? {} : { detail: problem }),
    ...describe(record),
    ...(usage ? { usedBytes: usage.bytes.used } : {}),
    ...{ published, staged },
  };
}

function describe({ name, claim, backend, sizeBytes, created, ephemeral }: VolumeRecord) {
  return {
    ...{ name, backend: backend ?? "directory", sizeBytes, created },
    ...(claim ? { claim: `${claim.namespace}/${claim.name}` } : {}),
    ...(ephemeral ? { inline: true } : {}),
  };
}

function viewOfDeleted({ entry, state, keptUntilMs, record }: Deleted): VolumeView {
  const detail =
    state === "retained"
      ? "kept until it is removed by hand"
      : keptUntilMs === undefined || !Number.isFinite(keptUntilMs)
        ? "being removed"
        : `kept until ${new Date(keptUntilMs).toISOString()}`;
  return {
    id: record.id,
    pool: record.pool,
    state,
    detail,
    ...describe(record),
    published: [],
    staged: [],
    entry,
  };
}
