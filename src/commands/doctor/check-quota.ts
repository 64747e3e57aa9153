/** Why writers of a pool are not stopped at the size of their volume, and the exact command that would change it. */
import { remedyOf } from "../../csi/backend/probe-remedy.ts";
import type { ConfiguredPool, DiskFacts, KernelFacts, PoolFacts } from "./facts.ts";
import { type Finding, inArea } from "./finding.ts";

const { ok, warning, error } = inArea("storage");

const consequence = "nothing stops a pod from writing more than its claim, up to the whole disk";
const imageInstead = "or give the pool the backend image, which limits everywhere";
const EXT4 = 0xef53;
const XFS = 0x58465342;

export type KernelFeatures = Pick<KernelFacts, "features" | "release">;

/** Of a pool that the daemon serves. */
export function checkLimits({ status, disk }: PoolFacts, kernel: KernelFeatures): Finding {
  const { name, path, enforced, how, advice, lacks } = status;
  const subject = `pool ${name}`;
  if (enforced === true)
    return ok(subject, `${how ?? "limits"}: writers are stopped at the size of their volume`);
  if (advice === undefined && lacks === undefined) {
    return warning(subject, {
      cause: "its volumes are plain directories, as its configuration says",
      consequence,
      remedy:
        "give it the backend auto, on XFS or ext4 with project quotas or on btrfs, or image, which limits everywhere",
    });
  }
  return warning(subject, {
    cause: lacks ?? advice ?? "",
    consequence,
    ...remedyOn({ path, disk, kernel, lacks }),
  });
}

/** Of a pool that cannot be asked about: what its disk shows. */
export function checkConfigured(
  { name, path, backend, disk }: ConfiguredPool,
  kernel: KernelFeatures,
): Finding {
  const subject = `pool ${name}`;
  if (backend === "image" || backend === "directory") {
    return ok(subject, `${path} is to have the backend ${backend}; trivet node is away`);
  }
  const { quotas } = disk;
  if ("value" in quotas && quotas.value === "enforced") {
    return ok(subject, `quotas are on at ${path}; trivet node is away`);
  }
  const states = { counted: "are counted and not enforced", off: "are off" } as const;
  const state =
    "value" in quotas ? `quotas ${states[quotas.value === "counted" ? "counted" : "off"]}` : quotas.unknown;
  return warning(subject, {
    cause: `${state}, at ${path}`,
    consequence: backend === "quota" ? "the pool will not open" : consequence,
    ...remedyOn({ path, disk, kernel }),
  });
}

/** Of a pool that is to have quotas and is away because it cannot have them. */
export function checkQuotaPool({ status, disk }: PoolFacts, kernel: KernelFeatures): Finding {
  const { name, path, reason = "" } = status;
  return error(`pool ${name}`, {
    cause: reason.split("; ")[0] ?? reason,
    consequence: "its volumes cannot be published, and no new one is made in it",
    ...remedyOn({ path, disk, kernel }),
  });
}

interface Asked {
  readonly path: string;
  readonly disk: DiskFacts;
  readonly kernel: KernelFeatures;
  readonly lacks?: string | undefined;
}

function remedyOn({ path, disk, kernel, lacks }: Asked): { remedy: string; commands?: readonly string[] } {
  const cleared = /clear that with "(chattr [^"]+)"/.exec(lacks ?? "")?.[1];
  if (cleared !== undefined) {
    return { remedy: `run "${cleared}", then restart trivet node`, commands: [cleared] };
  }
  const { space, mount } = disk;
  const type = space?.type ?? 0;
  const missing = kernelLack(type, kernel);
  if (missing) {
    return {
      remedy: `boot a kernel with ${missing}, which ${kernel.release} is built without, or move the pool to btrfs, ${imageInstead}`,
    };
  }
  const remedy = remedyOf({ mount, path, type });
  if (!remedy) return { remedy: `put the pool on a disk with XFS, ext4 or btrfs, ${imageInstead}` };
  return {
    remedy: `${remedy.say}, then restart trivet node; ${imageInstead}`,
    ...(remedy.command === undefined ? {} : { commands: [remedy.command] }),
  };
}

function kernelLack(type: number, { features }: KernelFeatures): string | undefined {
  if (type === XFS && features.xfs_quota === "missing") return "CONFIG_XFS_QUOTA";
  return type === EXT4 && features.quota_v2 === "missing" ? "CONFIG_QFMT_V2 (module quota_v2)" : undefined;
}
