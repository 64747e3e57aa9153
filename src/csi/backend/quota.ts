/**
 * A volume as a directory with a project quota of XFS or ext4: the kernel stops a writer at the volume's size, `df` shows
 * that size, and growing is one call. The project lies on the data, not on the wrapper: XFS limits root too, and the
 * record of a full volume must still be written when it grows.
 *
 * A guard-rail, not a wall: outside a user namespace the owner of a file may give it another project. `problem` looks for
 * that, in a few inodes at a time.
 */
import { withCleanupFailure } from "../../errors.ts";
import type { Copier } from "../../host/copy-tree.ts";
import type { Files } from "../../host/files.ts";
import type { ProjectLimits, ProjectQuota } from "../../host/quota.ts";
import { wrapperLayout } from "../pool/layout.ts";
import { refusal } from "../refusal.ts";
import type { VolumeRecord } from "../volume/record.ts";
import type { Backend, PlacedVolume, VolumeUsage } from "./backend.ts";
import { createDirectoryBackend } from "./directory.ts";
import type { ProjectIds } from "./quota-ids.ts";
import { projectOfRemains, volumeOfRemains } from "./quota-remains.ts";
import { makeTopDirectory } from "./top-directory.ts";

/** What a pool with project quotas takes. */
export interface QuotaDeps {
  readonly files: Files;
  readonly quota: ProjectQuota;
  readonly ids: ProjectIds;
  readonly copier: Copier;
}

/** Where it is, and what probing called it. */
export interface QuotaPool {
  /** A directory of the pool that is no volume's: statfs in it shows the whole file system. */
  readonly root: string;
  readonly how: string;
}

/** Both file systems count in blocks of at most this size, so that statfs may differ from the limit by less. */
const ROUNDING_BYTES = 65_536;
const MINIMUM_BYTES = 1_048_576;
/** What the copy of a full volume may take beyond an eighth more: it has other blocks at the ends of its files. */
const [SLACK_BYTES, SLACK_INODES] = [16_777_216, 16];
/** Inodes that one look at the condition of a volume takes. */
const SAMPLE = 32;

/** The backend of one pool; `ids` is shared by all pools of the node. */
export function createQuotaBackend(deps: QuotaDeps, pool: QuotaPool): Backend {
  const { files, quota, ids } = deps;
  const directory = createDirectoryBackend(deps);
  return {
    ...directory,
    ...{ name: "quota", how: pool.how, enforced: true },
    ...{ minimumBytes: MINIMUM_BYTES, granularityBytes: 4096 },
    async build(volume) {
      return confine(deps, pool, volume, async () => {
        await makeTopDirectory(files, wrapperLayout(volume.wrapper).data, volume.record);
      });
    },
    unsynced: () => [],
    copy: (volume, from, options) =>
      confine(deps, pool, volume, async (projectId) => {
        await quota.setLimits(volume.wrapper, projectId, withSlack(limitsFor(volume.record)));
        const [source, target] = [wrapperLayout(from.wrapper).data, wrapperLayout(volume.wrapper).data];
        const totalBytes = await usedBytes(deps, from);
        await deps.copier.tree(source, target, {
          signal: options.signal,
          onProgress: ({ copiedBytes }) => options.onProgress({ copiedBytes, totalBytes }),
        });
      }),
    async reinstate(volume) {
      const { data, projectId, limits } = limitOf(volume);
      ids.enter(projectId, volume.record.id);
      const project = await quota.project(data);
      if (project.id !== projectId || !project.inherit)
        await quota.setProject(data, { id: projectId, inherit: true });
      await quota.setLimits(data, projectId, limits);
      await requireInForce(deps, pool, volume.record, data);
    },
    async grow(volume) {
      const { data, projectId, limits } = limitOf(volume);
      await quota.setLimits(data, projectId, limits);
      await requireInForce(deps, pool, volume.record, data);
    },
    usage: (volume) => usageOf(deps, volume),
    problem: async (volume) => (await directory.problem(volume)) ?? (await problemOf(deps, pool, volume)),
    async dismantle(wrapper) {
      const projectId = await projectOfRemains(deps, wrapper);
      if (projectId === undefined) return;
      // First the limit, then the data: an id that has either is not given to another volume.
      await quota.setLimits(wrapper, projectId, { bytes: 0, inodes: 0 });
      ids.release(projectId, volumeOfRemains(wrapper));
    },
  };
}

/**
 * Has the data made in a project of its own, sets the limits of the record and proves them in force. While it is made the
 * wrapper has the project too: so all of the data inherits it, whatever order a copy makes it in. A copy is as large as
 * its source was, so the limits come last, and no rounding stops it short.
 */
async function confine(
  deps: QuotaDeps,
  pool: QuotaPool,
  { wrapper, record }: PlacedVolume,
  make: (projectId: number) => Promise<void>,
): Promise<Pick<VolumeRecord, "projectId">> {
  const { files, quota, ids } = deps;
  const { data } = wrapperLayout(wrapper);
  const projectId = await ids.take(wrapper, record.id);
  try {
    await quota.setProject(wrapper, { id: projectId, inherit: true });
    await make(projectId);
    await quota.setProject(wrapper, { id: 0, inherit: false });
    await quota.setLimits(data, projectId, limitsFor(record));
    await requireInForce(deps, pool, record, data);
    await files.sync(data);
    return { projectId };
  } catch (error) {
    await quota
      .setLimits(wrapper, projectId, { bytes: 0, inodes: 0 })
      .catch((cleanup) => withCleanupFailure(error, cleanup));
    ids.release(projectId, record.id);
    throw error;
  }
}

/** How much a copy will have to read, as far as that is known. */
async function usedBytes({ quota }: QuotaDeps, { wrapper, record }: PlacedVolume): Promise<number> {
  if (record.projectId === undefined) return record.sizeBytes;
  return (await quota.read(wrapper, record.projectId)).usedBytes;
}

function limitsFor({ sizeBytes, inodes = 0 }: VolumeRecord): ProjectLimits {
  return { bytes: sizeBytes, inodes };
}

/**
 * For a copy that is being made of a volume in use: its owner may move what was copied to where the copy still has to
 * come, again and again, and no disk would be large enough.
 */
function withSlack({ bytes, inodes }: ProjectLimits): ProjectLimits {
  const more = (limit: number, least: number) => limit + Math.ceil(limit / 8) + least;
  return { bytes: more(bytes, SLACK_BYTES), inodes: inodes === 0 ? 0 : more(inodes, SLACK_INODES) };
}

function limitOf({ wrapper, record }: PlacedVolume) {
  const { projectId } = record;
  if (projectId === undefined) {
    throw refusal("precondition", record.id, `the record of volume ${record.id} names no project id`);
  }
  return { data: wrapperLayout(wrapper).data, projectId, limits: limitsFor(record) };
}

/**
 * What was set is not always in force: ext4 mounted without `prjquota` takes limits and ignores them. statfs in the
 * directory shows a limit only where the kernel keeps it.
 */
async function requireInForce(
  deps: QuotaDeps,
  pool: QuotaPool,
  record: VolumeRecord,
  data: string,
): Promise<void> {
  const wrong = await notInForce(deps, pool, record, data);
  if (wrong !== undefined) throw refusal("precondition", record.id, `volume ${record.id}: ${wrong}`);
}

async function notInForce(
  { files }: QuotaDeps,
  { root }: QuotaPool,
  { sizeBytes, inodes }: VolumeRecord,
  data: string,
): Promise<string | undefined> {
  const [shown, whole] = await Promise.all([files.space(data), files.space(root)]);
  // A limit above the size of the disk is no limit that statfs could show.
  const expected = Math.min(sizeBytes, whole.totalBytes);
  if (Math.abs(shown.totalBytes - expected) >= ROUNDING_BYTES) {
    return `its limit of ${sizeBytes} bytes is not in force: ${data} shows ${shown.totalBytes}; is the disk mounted with prjquota?`;
  }
  if (inodes !== undefined && inodes < whole.totalInodes && shown.totalInodes !== inodes) {
    return `its limit of ${inodes} inodes is not in force: ${data} shows ${shown.totalInodes}`;
  }
  return undefined;
}

/** From the quota itself: what statfs shows is the tenant's to change, together with the project of the directory. */
async function usageOf({ files, quota }: QuotaDeps, volume: PlacedVolume): Promise<VolumeUsage> {
  const { data, projectId, limits } = limitOf(volume);
  const [used, disk] = await Promise.all([quota.read(data, projectId), files.space(volume.wrapper)]);
  const left = (limit: number, taken: number, free: number) => Math.max(0, Math.min(limit - taken, free));
  const inodes = limits.inodes === 0 ? used.usedInodes + disk.freeInodes : limits.inodes;
  return {
    bytes: {
      total: limits.bytes,
      used: used.usedBytes,
      available: left(limits.bytes, used.usedBytes, disk.availableBytes),
    },
    inodes: {
      total: inodes,
      used: used.usedInodes,
      available: left(inodes, used.usedInodes, disk.freeInodes),
    },
  };
}

async function problemOf(
  deps: QuotaDeps,
  pool: QuotaPool,
  volume: PlacedVolume,
): Promise<string | undefined> {
  const { data, projectId, limits } = limitOf(volume);
  const { id, inherit } = await deps.quota.project(data);
  if (id !== projectId || !inherit) {
    return `the top directory counts for project ${id}${inherit ? "" : " and does not pass it on"}, not for ${projectId}: what is written escapes the limit until the driver starts again`;
  }
  const set = await deps.quota.read(data, projectId);
  if (Math.abs(set.bytes - limits.bytes) >= ROUNDING_BYTES || set.inodes !== limits.inodes) {
    return `the limit is ${set.bytes} bytes and ${set.inodes} inodes, not ${limits.bytes} and ${limits.inodes} as recorded`;
  }
  const wrong = await notInForce(deps, pool, volume.record, data);
  if (wrong !== undefined) return wrong;
  const { looked, projects } = await deps.quota.sample(data, SAMPLE);
  const foreign = [...projects].filter((found) => found !== projectId);
  if (foreign.length === 0) return undefined;
  return `of ${looked} files some count for project ${foreign.join(", ")}, not for ${projectId}: they escape the limit`;
}
