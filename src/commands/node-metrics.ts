/** What a scrape of `trivet node` shows beside its calls: pools, orphans, leases, and what is degraded. Looked up when it is asked for. */
import type { CniDeps } from "../cni/deps.ts";
import { countLeases } from "../cni/state/list-attachments.ts";
import type { PoolStatus } from "../csi/pool/pool.ts";
import type { CsiServer } from "../csi/server.ts";
import type { Clock } from "../host/clock.ts";
import type { Registration } from "../kubelet/registration.ts";
import type { Metrics, Reading } from "../observe/metrics.ts";
import { version } from "../version.ts";

/** To look for orphans reads every record: not for every scrape. */
const ORPHANS_EVERY_MS = 300_000;
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
  for (const [name, help, readingOf] of poolValues) {
    metrics.looked(`trivet_csi_pool_${name}`, help, ["pool"], async () =>
      (await csi.pools()).map((pool) => ({ labels: { pool: pool.name }, value: readingOf(pool) })),
    );
  }
  metrics.looked("trivet_csi_pool_budget_bytes", "What volumes may add up to.", ["pool"], async () =>
    (await csi.pools()).flatMap(({ name, budgetBytes }) =>
      budgetBytes === undefined ? [] : [{ labels: { pool: name }, value: budgetBytes }],
    ),
  );
  metrics.looked(
    "trivet_degraded",
    "1 for each thing that works less well than it could; `trivet doctor` says what to do.",
    ["what", "subject"],
    async () => (await csi.pools()).flatMap(degradations),
  );
  const orphans = rarely(() => countOrphans(csi), clock, ORPHANS_EVERY_MS);
  metrics.looked("trivet_csi_orphans", "What does not fit together on the disks.", ["kind"], orphans);
}

function degradations({ name, state, enforced, quarantined }: PoolStatus): Reading[] {
  const found: Reading[] = [];
  const add = (what: string) => found.push({ labels: { what, subject: name }, value: 1 });
  if (state === "unavailable") add("pool-unavailable");
  else if (enforced !== true) add("pool-not-enforced");
  if (quarantined.length > 0) add("pool-quarantined");
  return found;
}

async function countOrphans({ admin }: Pick<CsiServer, "admin">): Promise<Reading[]> {
  const { orphans } = await admin.orphans({ graceMs: ORPHAN_GRACE_MS });
  const counts = new Map<string, number>();
  for (const { kind } of orphans) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return [...counts].map(([kind, value]) => ({ labels: { kind }, value }));
}

/** The last answer for so long; those who ask meanwhile share one look. */
function rarely<T>(look: () => Promise<T>, clock: Clock, everyMs: number): () => Promise<T> {
  let last: Promise<T> | undefined;
  let untilMs = 0;
  return () => {
    if (last && clock.nowMs() < untilMs) return last;
    untilMs = clock.nowMs() + everyMs;
    last = look();
    return last;
  };
}
