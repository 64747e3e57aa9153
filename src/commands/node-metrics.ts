/** What a scrape of `trivet node` shows beside its calls: pools, orphans, leases, and what is degraded. Looked up when it is asked for. */
import type { CniDeps } from "../cni/deps.ts";
import { countLeases } from "../cni/state/list-attachments.ts";
import type { PoolStatus } from "../csi/pool/pool.ts";
import type { CsiServer } from "../csi/server.ts";
import type { Clock } from "../host/clock.ts";
import type { Registration } from "../kubelet/registration.ts";
import type { Metrics, Reading } from "../observe/metrics.ts";
import { version } from "../version.ts";

/** To look for orphans reads every record: not for every scrape, and for no more of the time than one part in so many. */
const ORPHANS_EVERY_MS = 300_000;
const ORPHANS_SHARE = 100;
/** As `trivet storage orphans` without a flag. */
const ORPHAN_GRACE_MS = 3_600_000;

/** Which Trivet this is. */
export function showBuild(metrics: Metrics): void {
  metrics.looked(
    "trivet_build_info",
    "Always 1; the labels say which Trivet runs.",
    ["version", "node"],
    async () => [{ labels: { version, node: process.versions.node }, value: 1 }],
  );
}

/** Whether the kubelet has taken the driver. */
export function showRegistration(metrics: Metrics, registration: Registration): void {
  metrics.looked("trivet_csi_registered", "1 when the kubelet has taken the driver.", [], async () => [
    { labels: {}, value: registration.registered() === true ? 1 : 0 },
  ]);
}

/** How many addresses each network has leased. */
export function showLeases(
  metrics: Metrics,
  deps: Pick<CniDeps, "files" | "bootId">,
  stateDir: string,
): void {
  metrics.looked("trivet_cni_leases", "Addresses that are leased.", ["network"], async () =>
    [...(await countLeases(deps, stateDir))].map(([network, value]) => ({ labels: { network }, value })),
  );
}

const poolValues: readonly [string, string, (pool: PoolStatus) => number][] = [
  ["ready", "1 when the pool can be used.", ({ state }) => (state === "ready" ? 1 : 0)],
  [
    "enforced",
    "1 when writers are stopped at the size of their volume.",
    ({ enforced }) => (enforced === true ? 1 : 0),
  ],
  ["reserved_bytes", "What volumes and the trash add up to.", ({ reservedBytes }) => reservedBytes],
  ["available_bytes", "What a new volume could have now.", ({ availableBytes }) => availableBytes],
  ["volumes", "Volumes in the pool.", ({ volumes }) => volumes],
  ["trashed", "Deleted volumes that are not removed yet.", ({ trashed }) => trashed],
  [
    "quarantined",
    "Directories that hold no volume that can be used.",
    ({ quarantined }) => quarantined.length,
  ],
];

/** Pools, one value each, and what does not fit together. */
export function showStorage(metrics: Metrics, csi: Pick<CsiServer, "pools" | "admin">, clock: Clock): void {
  // A scrape asks for all of them at once: one look for all.
  const pools = shared(() => csi.pools());
  for (const [name, help, readingOf] of poolValues) {
    metrics.looked(`trivet_csi_pool_${name}`, help, ["pool"], async () =>
      (await pools()).map((pool) => ({ labels: { pool: pool.name }, value: readingOf(pool) })),
    );
  }
  metrics.looked("trivet_csi_pool_budget_bytes", "What volumes may add up to.", ["pool"], async () =>
    (await pools()).flatMap(({ name, budgetBytes }) =>
      budgetBytes === undefined ? [] : [{ labels: { pool: name }, value: budgetBytes }],
    ),
  );
  metrics.looked(
    "trivet_degraded",
    "1 for each thing that works less well than it could; `trivet doctor` says what to do.",
    ["what", "subject"],
    async () => (await pools()).flatMap(degradations),
  );
  const orphans = behind(() => countOrphans(csi), clock);
  metrics.looked("trivet_csi_orphans", "What does not fit together on the disks.", ["kind"], orphans);
}

function degradations({ name, state, enforced, lacks, quarantined }: PoolStatus): Reading[] {
  const found: Reading[] = [];
  const add = (what: string) => found.push({ labels: { what, subject: name }, value: 1 });
  if (state === "unavailable") add("pool-unavailable");
  // A pool of directories by choice is what it was meant to be; one that was to have limits is not.
  else if (enforced !== true && lacks !== undefined) add("pool-not-enforced");
  if (quarantined.length > 0) add("pool-quarantined");
  return found;
}

async function countOrphans({ admin }: Pick<CsiServer, "admin">): Promise<Reading[]> {
  const { orphans } = await admin.orphans({ graceMs: ORPHAN_GRACE_MS });
  const counts = new Map<string, number>();
  for (const { kind } of orphans) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return [...counts].map(([kind, value]) => ({ labels: { kind }, value }));
}

/** Those who ask while a look is under way get what it finds. */
function shared<T>(look: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined;
  return () => {
    running ??= look().finally(() => {
      running = undefined;
    });
    return running;
  };
}

/** What was found last, at once: nobody waits for a look, which takes seconds where there are thousands of volumes. */
function behind(look: () => Promise<readonly Reading[]>, clock: Clock): () => Promise<readonly Reading[]> {
  let last: readonly Reading[] = [];
  let isLooking = false;
  let nextMs = Number.NEGATIVE_INFINITY;
  const elapsedMs = () => Number(clock.monotonicNs() / 1_000_000n);
  const lookAgain = async (begunMs: number) => {
    last = await look().catch(() => []);
    const endedMs = elapsedMs();
    nextMs = endedMs + Math.max(ORPHANS_EVERY_MS, (endedMs - begunMs) * ORPHANS_SHARE);
    isLooking = false;
  };
  return async () => {
    const nowMs = elapsedMs();
    if (!isLooking && nowMs >= nextMs) {
      isLooking = true;
      void lookAgain(nowMs);
    }
    return last;
  };
}
