/** Pools and volumes, asked of the daemon that has them: doctor opens no pool by itself. Without a daemon the configured ones' disks. */
import type { VolumeView } from "../../csi/inventory/facts.ts";
import { DEFAULT_POOL } from "../../csi/pool/config.ts";
import type { PoolStatus } from "../../csi/pool/pool.ts";
import type { OrphansReport } from "../../csi/storage-admin.ts";
import type { ConfiguredPool, PoolFacts, StorageFacts } from "./facts.ts";
import { type DoctorDeps, known } from "./gather.ts";
import { createDiskReader, type LookAtDisk } from "./gather-disk.ts";
import { holderOf } from "./gather-sockets.ts";

const ORPHAN_GRACE_MS = 3_600_000;
/** Of e2fsprogs, xfsprogs, btrfs-progs and util-linux. */
const programs = ["mkfs.ext4", "fsck.ext4", "mkfs.xfs", "mkfs.btrfs", "fsfreeze"];

export async function gatherStorage(deps: DoctorDeps): Promise<StorageFacts> {
  const { settings, askAdmin, reach, holders } = deps;
  const socket = reach(settings.storageSocket);
  const look = await createDiskReader(deps);
  const [pools, abnormal, orphans] = await Promise.all([
    known(readPools(deps, socket, look)),
    known(
      askAdmin(socket, "volumes").then((found) =>
        (found as VolumeView[])
          .filter(({ state }) => state === "abnormal")
          .map(({ id, detail }) => `${id}: ${detail ?? "no reason is told"}`),
      ),
    ),
    known(askAdmin(socket, "orphans", { graceMs: ORPHAN_GRACE_MS }).then(countKinds)),
  ]);
  const configured = "unknown" in pools ? await readConfigured(deps, look) : [];
  // Where the daemon runs, which may be a container with programs of its own.
  const daemon = holderOf(await holders(), settings.storageSocket)?.pid;
  const found = await Promise.all(programs.map((program) => deps.hasProgram(program, daemon)));
  return {
    ...{ pools, configured, abnormal, orphans },
    missingPrograms: programs.filter((_, index) => !found[index]),
  };
}

async function readPools({ askAdmin }: DoctorDeps, socket: string, look: LookAtDisk): Promise<PoolFacts[]> {
  const pools = (await askAdmin(socket, "pools")) as PoolStatus[];
  return Promise.all(pools.map(async (status) => ({ status, disk: await look(status.path) })));
}

/** What the configuration file says of pools; the default one where it says nothing. */
async function readConfigured(deps: DoctorDeps, look: LookAtDisk): Promise<ConfiguredPool[]> {
  const text = await deps.readConfig();
  const { parse } = await import("yaml");
  let pools: unknown;
  try {
    pools = (parse(text ?? "") as { node?: { csi?: { pools?: unknown } } } | null)?.node?.csi?.pools;
  } catch {
    // A file that is no YAML: trivet node says so when it is started.
  }
  const usual = [{ name: DEFAULT_POOL, path: `${deps.settings.stateDir}/pool` }];
  const found = (Array.isArray(pools) ? pools : usual).flatMap((pool) => {
    const { name, path, backend = "auto" } = (pool ?? {}) as Record<string, unknown>;
    return typeof name === "string" && typeof path === "string" && path.startsWith("/")
      ? [{ name, path, backend: String(backend) }]
      : [];
  });
  return Promise.all(found.map(async (pool) => ({ ...pool, disk: await look(pool.path) })));
}

function countKinds(found: unknown): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { kind } of (found as OrphansReport).orphans) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}
