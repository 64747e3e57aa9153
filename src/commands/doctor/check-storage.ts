/** Pools, the disks below them, and what lies on them. */
import type { FileSystemSpace } from "../../host/files.ts";
import { checkConfigured, checkLimits, checkQuotaPool, type KernelFeatures } from "./check-quota.ts";
import type { DaemonFacts, DiskFacts, Known, PoolFacts, StorageFacts } from "./facts.ts";
import { type Finding, inArea } from "./finding.ts";

const { ok, unknown, warning, error } = inArea("storage");

const LOW = 0.1;
const VERY_LOW = 0.03;

/** File systems that no volume should be on, by statfs(2), f_type. */
const passing: Readonly<Record<number, readonly [name: string, consequence: string]>> = {
  16914836: ["tmpfs", "its volumes take memory, and are gone after a boot"],
  2240043254: ["ramfs", "its volumes take memory, and are gone after a boot"],
  2035054128: ["overlayfs", "its volumes may be gone with the container whose layer that is"],
};

export function checkStorage(
  { pools, configured, abnormal, orphans, missingPrograms }: StorageFacts,
  { daemon, kernel }: { readonly daemon: DaemonFacts; readonly kernel: KernelFeatures },
): Finding[] {
  if ("unknown" in pools) {
    if (daemon.servesVolumes === false)
      return [ok("daemon", "trivet node serves no volumes here (--no-csi)")];
    return [
      error("daemon", {
        cause: pools.unknown,
        consequence: "no volume can be made, published or removed on this node",
        remedy:
          "start trivet node; in a cluster see 'kubectl -n trivet-system get pods -o wide' and the log of the pod of this node",
      }),
      ...configured.flatMap((pool) => [
        checkConfigured(pool, kernel),
        ...checkDisk(`pool ${pool.name}`, pool.path, pool.disk),
      ]),
    ];
  }
  const findings = pools.value.flatMap((pool) => checkPool(pool, kernel));
  if (pools.value.some(({ status }) => status.backend === "image"))
    findings.push(...checkPrograms(missingPrograms));
  return [...findings, ...checkVolumes(abnormal), ...checkOrphans(orphans)];
}

function checkPool(pool: PoolFacts, kernel: KernelFeatures): Finding[] {
  const { name, path, state, quarantined, drain } = pool.status;
  const subject = `pool ${name}`;
  if (state === "unavailable") return [checkAway(pool, kernel)];
  const findings = [checkLimits(pool, kernel)];
  if (quarantined.length > 0) {
    findings.push(
      warning(subject, {
        cause: `${quarantined.length} directories hold no volume that can be used: ${quarantined.slice(0, 3).join(", ")}`,
        consequence: "their claims stay pending; their data is untouched",
        remedy: `look at meta.json in ${path}/volumes, mend it, and restart trivet node`,
      }),
    );
  }
  if (drain) findings.push(ok(subject, "is being drained: no new volumes are made in it"));
  return [...findings, ...checkBudget(pool), ...checkDisk(subject, path, pool.disk)];
}

/** Why it is away decides what is to be done; most reasons name that themselves. */
function checkAway(pool: PoolFacts, kernel: KernelFeatures): Finding {
  const { name, path, reason = "it cannot be used" } = pool.status;
  if (reason.includes("is to have quotas and cannot")) return checkQuotaPool(pool, kernel);
  const wrong = (remedy: string, commands: readonly string[] = []) =>
    error(`pool ${name}`, {
      cause: reason,
      consequence: "its volumes cannot be published, and no new one is made in it",
      ...{ remedy, commands },
    });
  const named = /run "([^"]+)"/.exec(reason)?.[1];
  if (named !== undefined) return wrong(`run '${named}'; the pool opens by itself`, [named]);
  if (/mount|identity|cannot be reached/.test(reason)) {
    return pool.disk.isInFstab
      ? wrong(`run 'mount ${path}'; the pool opens by itself`, [`mount ${path}`])
      : wrong(`mount its disk at ${path}, in /etc/fstab too; the pool opens by itself`);
  }
  return wrong("do what the cause says; the pool opens by itself");
}

function checkBudget({ status, disk }: PoolFacts): Finding[] {
  const { name, budgetBytes, availableBytes, reservedBytes, sparse } = status;
  const subject = `pool ${name}`;
  const findings: Finding[] = [];
  if (budgetBytes !== undefined && availableBytes < budgetBytes * LOW) {
    findings.push(
      warning(subject, {
        cause: `${percent(availableBytes / budgetBytes)} of its budget is left`,
        consequence: "new claims are placed on other nodes, or stay pending",
        remedy: "raise the budget, add a pool, or empty the trash ('trivet storage volumes --deleted')",
      }),
    );
  }
  if (!sparse) return findings;
  const { totalBytes = 0, freeBytes = 0, availableBytes: left = 0 } = disk.space ?? {};
  // What is used on the disk is at least what its images have taken so far.
  const promised = Math.max(0, reservedBytes - (totalBytes - freeBytes));
  if (promised > left) {
    findings.push(
      warning(subject, {
        cause: `its images are sparse, and promise at least ${bytes(promised)} more than they have, of which the disk has ${bytes(left)}`,
        consequence: "writers in its volumes get I/O errors when the disk is full, not ENOSPC",
        remedy:
          "free space on the disk, or delete volumes; set preallocate: true, so that new ones have theirs from the start",
      }),
    );
  } else findings.push(ok(subject, "its images are sparse: they take space as they are written to"));
  return findings;
}

/** The disk below a pool, whoever uses it. */
function checkDisk(subject: string, path: string, { space, mount }: DiskFacts): Finding[] {
  const findings = space ? checkPressure(subject, path, space) : [];
  const [name, consequence] = passing[space?.type ?? 0] ?? [];
  if (name !== undefined && consequence !== undefined) {
    findings.push(
      warning(subject, {
        cause: `${path} is on ${name}`,
        consequence,
        remedy: "give the pool a directory on a disk of the node, and in a pod a mount of it",
      }),
    );
  }
  if (mount && (mount.options.includes("ro") || mount.superOptions.includes("ro"))) {
    findings.push(
      error(subject, {
        cause: `${mount.source} is mounted read-only at ${mount.mountPoint}`,
        consequence: "nothing can be written to its volumes, and none is made or removed",
        remedy: `see 'dmesg' for errors of the disk: a file system with errors turns read-only. When it is mended: 'mount -o remount,rw ${mount.mountPoint}'`,
      }),
    );
  }
  return findings;
}

/** The disk itself, whoever fills it. */
function checkPressure(subject: string, path: string, space: FileSystemSpace): Finding[] {
  const findings: Finding[] = [];
  const judge = (what: string, left: number, remedy: string) => {
    if (left >= LOW) return;
    const wrong = left < VERY_LOW ? error : warning;
    findings.push(
      wrong(subject, {
        cause: `${percent(left)} of the ${what} of the disk at ${path} are left`,
        consequence: "writers in its volumes get ENOSPC below their own limit, and the node may evict pods",
        remedy,
      }),
    );
  };
  judge(
    "bytes",
    space.availableBytes / Math.max(1, space.totalBytes),
    `find what fills it: 'du -xh --max-depth=2 ${path} | sort -h | tail'`,
  );
  if (space.totalInodes > 0) {
    judge(
      "inodes",
      space.freeInodes / space.totalInodes,
      "remove small files; give classes an 'inodes' limit, or use XFS, which has no fixed number",
    );
  }
  return findings;
}

const bytes = (count: number) => `${(count / 2 ** 30).toFixed(1)} GiB`;
const percent = (share: number) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;

function checkPrograms(missing: readonly string[]): Finding[] {
  return missing.map((program) =>
    warning("image pools", {
      cause: `${program} is not installed where trivet node runs`,
      consequence: "volumes in images of that kind cannot be made or repaired",
      remedy:
        "install e2fsprogs, xfsprogs, btrfs-progs and util-linux, or run Trivet from its image, which has them",
    }),
  );
}

function checkVolumes(abnormal: Known<readonly string[]>): Finding[] {
  if ("unknown" in abnormal) return [unknown("volumes", abnormal.unknown)];
  if (abnormal.value.length === 0) return [ok("volumes", "none is abnormal")];
  return [
    warning("volumes", {
      cause: `${abnormal.value.length} are abnormal: ${abnormal.value.slice(0, 2).join("; ")}`,
      consequence: "their pods may fail to start, or run without a limit",
      remedy: "'trivet storage volumes' says for each what is wrong",
    }),
  ];
}

function checkOrphans(orphans: Known<Readonly<Record<string, number>>>): Finding[] {
  if ("unknown" in orphans) return [unknown("orphans", orphans.unknown)];
  const kinds = Object.entries(orphans.value);
  if (kinds.length === 0) return [ok("orphans", "everything on the disks fits together")];
  return [
    warning("orphans", {
      cause: kinds.map(([kind, count]) => `${count} times ${kind}`).join(", "),
      consequence: "they hold space that nobody uses, or claims that can never start",
      remedy:
        "'trivet storage orphans' says what each is; with --delete it removes those that are safe to remove",
    }),
  ];
}
