/** Pools and volumes, asked of the daemon that has them: doctor opens no pool by itself. */

import type { VolumeView } from "../../csi/inventory/facts.ts";
import type { PoolStatus } from "../../csi/pool/pool.ts";
import type { OrphansReport } from "../../csi/storage-admin.ts";
import type { PoolFacts, StorageFacts } from "./facts.ts";
import { type DoctorDeps, known } from "./gather.ts";

const ORPHAN_GRACE_MS = 3_600_000;
/** Of e2fsprogs, xfsprogs, btrfs-progs and util-linux. */
const programs = ["mkfs.ext4", "fsck.ext4", "mkfs.xfs", "mkfs.btrfs", "fsfreeze"];

export async function gatherStorage(deps: DoctorDeps): Promise<StorageFacts> {
  const { settings, askAdmin, reach } = deps;
  const socket = reach(settings.storageSocket);
  const [pools, abnormal, orphans] = await Promise.all([
    known(readPools(deps, socket)),
    known(
      askAdmin(socket, "volumes").then((found) =>
        (found as VolumeView[])
          .filter(({ state }) => state === "abnormal")
          .map(({ id, detail }) => `${id}: ${detail ?? "no reason is told"}`),
      ),
    ),
    known(askAdmin(socket, "orphans", { graceMs: ORPHAN_GRACE_MS }).then(countKinds)),
  ]);
  const found = await Promise.all(programs.map((program) => deps.hasProgram(program)));
  return { pools, abnormal, orphans, missingPrograms: programs.filter((_, index) => !found[index]) };
}

async function readPools({ askAdmin, files }: DoctorDeps, socket: string): Promise<PoolFacts[]> {
  const pools = (await askAdmin(socket, "pools")) as PoolStatus[];
  return Promise.all(
    pools.map(async (status) => ({ status, space: await files.space(status.path).catch(() => undefined) })),
  );
}

function countKinds(found: unknown): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { kind } of (found as OrphansReport).orphans) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}
