/** Pools, the disks below them, and what lies on them. */
import type { FileSystemSpace } from "../../host/files.ts";
import type { Known, PoolFacts, StorageFacts } from "./facts.ts";
import { type Finding, inArea } from "./finding.ts";

const { ok, unknown, warning, error } = inArea("storage");

const LOW = 0.1;
const VERY_LOW = 0.03;

export function checkStorage({ pools, abnormal, orphans, missingPrograms }: StorageFacts): Finding[] {
  if ("unknown" in pools) {
    return [
      error("daemon", {
        cause: pools.unknown,
        consequence: "no volume can be made, published or removed on this node",
        remedy:
          "start trivet node; in a cluster see 'kubectl -n trivet-system get pods -o wide' and the log of the pod of this node",
      }),
    ];
  }
  const findings = pools.value.flatMap(checkPool);
  if (pools.value.some(({ status }) => status.backend === "image"))
    findings.push(...checkPrograms(missingPrograms));
  return [...findings, ...checkVolumes(abnormal), ...checkOrphans(orphans)];
}

function checkPool({ status, space }: PoolFacts): Finding[] {
  const { name, path, state, reason, enforced, how, advice, quarantined, drain } = status;
  const subject = `pool ${name}`;
  if (state === "unavailable") {
    return [
      error(subject, {
        cause: reason ?? "it cannot be used",
        consequence: "its volumes cannot be published, and no new one is made in it",
        remedy: `mount its disk at ${path}; the pool opens by itself`,
      }),
    ];
  }
  const findings: Finding[] = [];
  if (enforced === true)
    findings.push(ok(subject, `${how ?? "limits"}: writers are stopped at the size of their volume`));
  else findings.push(unlimited(subject, advice));
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
  const { budgetBytes, availableBytes } = status;
  if (budgetBytes !== undefined && availableBytes < budgetBytes * LOW) {
    findings.push(
      warning(subject, {
        cause: `${percent(availableBytes / budgetBytes)} of its budget is left`,
        consequence: "new claims are placed on other nodes, or stay pending",
        remedy: "raise the budget, add a pool, or empty the trash ('trivet storage volumes --deleted')",
      }),
    );
  }
  return space ? [...findings, ...checkPressure(subject, path, space)] : findings;
}

function unlimited(subject: string, advice: string | undefined): Finding {
  return warning(subject, {
    cause: advice ?? "its volumes are plain directories, as its configuration says",
    consequence: "nothing stops a pod from writing more than its claim, up to the whole disk",
    remedy:
      advice === undefined
        ? "use backend auto on XFS, ext4 with quotas or btrfs, or backend image, which limits everywhere"
        : "do what the cause names, and restart trivet node; or use backend image, which limits everywhere",
  });
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
