/**
 * What a pool's disk can do, found out by trying it: a limit is set on a scratch directory in `staging` and read back.
 * Says why something cannot be, and which command would make it possible. Turns nothing on by itself: quotas concern
 * the whole file system, which may not be the pool's alone.
 */
import { join } from "node:path";
import { asTrivetError, isKind } from "../../errors.ts";
import type { Btrfs } from "../../host/btrfs.ts";
import { ensureDirectory, type Files } from "../../host/files.ts";
import type { Mounts } from "../../host/mount.ts";
import type { ProjectQuota } from "../../host/quota.ts";
import type { BackendSetting } from "../pool/config.ts";
import { type PoolLayout, WRAPPER_MODE } from "../pool/layout.ts";
import { refusal } from "../refusal.ts";
import type { BackendName } from "./backend.ts";
import { limitTree } from "./btrfs-limit.ts";
import { mountOf, remedyFor } from "./probe-remedy.ts";
import type { ProjectIds } from "./quota-ids.ts";

/** What probing takes. */
export interface ProbeDeps {
  readonly files: Files;
  readonly mounts: Pick<Mounts, "list">;
  readonly quota: ProjectQuota;
  readonly btrfs: Btrfs;
  readonly ids: ProjectIds;
  randomUuid(): string;
}

/** What was found. */
export interface ProbeFinding {
  /** What new volumes are to be made of. */
  readonly backend: BackendName;
  /** One phrase for people, such as `XFS project quota`. */
  readonly how: string;
  /** Why writers are not stopped, and the command that would change that; absent where they are, or by choice. */
  readonly advice?: string;
  /** The first half of `advice`: why, and no command. */
  readonly lacks?: string;
}

/** statfs(2), f_type. */
const magic = { ext4: 0xef53, xfs: 0x58465342, btrfs: 0x9123683e } as const;
const TRIAL_BYTES = 16_777_216;

/** One pool, as it is probed. */
export interface ProbedPool {
  readonly name: string;
  readonly layout: PoolLayout;
  readonly wanted: BackendSetting;
}

/** The kind that the setting means on this disk; `unavailable`, with the remedy, where it cannot be. */
export async function probeBackend(deps: ProbeDeps, pool: ProbedPool): Promise<ProbeFinding> {
  const { wanted, layout } = pool;
  if (wanted === "directory") return { backend: "directory", how: "directories without a limit" };
  if (wanted === "image") return { backend: "image", how: "image files on loop devices" };
  const { type } = await deps.files.space(layout.root);
  const found = await tryQuotas(deps, layout, type);
  if (typeof found === "object") return found;
  const mount = mountOf(await deps.mounts.list(), layout.root);
  const remedy = remedyFor({ mount, path: layout.root, type });
  const advice = remedy === undefined ? found : `${found}; ${remedy}`;
  if (wanted === "auto")
    return { backend: "directory", how: "directories without a limit", advice, lacks: found };
  throw refusal("unavailable", pool.name, `pool "${pool.name}" is to have quotas and cannot: ${advice}`);
}

/** A finding, or the reason why there is none. */
async function tryQuotas(deps: ProbeDeps, layout: PoolLayout, type: number): Promise<ProbeFinding | string> {
  await ensureDirectory(deps.files, layout.staging, WRAPPER_MODE);
  const scratch = join(layout.staging, `.probe-${deps.randomUuid()}`);
  if (type === magic.btrfs) {
    const wrong = await attempt(() => tryBtrfs(deps, layout, scratch));
    return wrong ?? { backend: "btrfs", how: "btrfs subvolumes with quota groups" };
  }
  if (type !== magic.xfs && type !== magic.ext4) {
    return "its file system has no quotas that Trivet can use: XFS, ext4 and btrfs have";
  }
  const wrong = await attempt(() => tryProjects(deps, layout, scratch));
  return wrong ?? { backend: "quota", how: `${type === magic.xfs ? "XFS" : "ext4"} project quota` };
}

async function attempt(trial: () => Promise<string | undefined>): Promise<string | undefined> {
  try {
    return await trial();
  } catch (error) {
    if (isKind(error, "bug", "cancelled", "deadline")) throw error;
    return asTrivetError(error, "probe", "probe").message;
  }
}

async function tryProjects(
  deps: ProbeDeps,
  layout: PoolLayout,
  scratch: string,
): Promise<string | undefined> {
  const { files, quota, ids } = deps;
  for (const path of [layout.root, layout.staging, layout.volumes, layout.trash]) {
    const { id, inherit } = await quota.project(path);
    if (!inherit) continue;
    // A rename into a directory that passes on another project fails, and all volumes would count for its project.
    return `${path} passes project ${id} on to what is made in it: clear that with "chattr -P ${path}"`;
  }
  const { accounting, enforced } = await quota.state(layout.root);
  if (!enforced) return `project quotas are ${accounting ? "accounted for but not enforced" : "off"}`;
  const name = "probe";
  let id: number | undefined;
  await files.mkdir(scratch, WRAPPER_MODE);
  try {
    id = await ids.take(scratch, name);
    await quota.setProject(scratch, { id, inherit: true });
    await quota.setLimits(scratch, id, { bytes: TRIAL_BYTES, inodes: 0 });
    const [shown, whole] = [await files.space(scratch), await files.space(layout.root)];
    const expected = Math.min(TRIAL_BYTES, whole.totalBytes);
    return shown.totalBytes === expected ? undefined : "a limit that was set is not in force";
  } finally {
    if (id !== undefined) {
      await quota
        .setLimits(layout.root, id, { bytes: 0, inodes: 0 })
        .finally(() => ids.release(id ?? 0, name));
    }
    await files.rmdir(scratch);
  }
}

async function tryBtrfs(deps: ProbeDeps, layout: PoolLayout, scratch: string): Promise<string | undefined> {
  const { btrfs } = deps;
  const { mode } = await btrfs.quotaState(layout.root);
  if (mode === "off") return "quotas of the file system are off";
  await btrfs.createSubvolume(scratch);
  const id = await btrfs.subvolume(scratch);
  try {
    return await limitTree(btrfs, scratch, TRIAL_BYTES);
  } finally {
    if (id !== undefined) await btrfs.destroySubvolume(layout.root, id);
  }
}
