/** Is the kernel new enough, and does it have what the legs need? */
import type { KernelFacts } from "./facts.ts";
import { type Finding, inArea } from "./finding.ts";

const { ok, unknown, warning, error } = inArea("kernel");

/** The oldest kernel that Trivet is made for: open_tree, mount_setattr, quotactl_fd. */
const MINIMUM = [5, 14] as const;

/** What the kernel should have: what stops without it, and how bad that is. */
const needed: readonly {
  readonly name: string;
  readonly level: "error" | "warning";
  readonly without: string;
}[] = [
  { name: "veth", level: "error", without: "no pod can be attached to the network" },
  { name: "nf_tables", level: "error", without: "there is no masquerade and there are no host ports" },
  { name: "nft_masq", level: "error", without: "pods cannot reach beyond the network of the pods" },
  { name: "nft_nat", level: "error", without: "there are no host ports" },
  { name: "overlay", level: "warning", without: "containerd needs another snapshotter, which is slower" },
  { name: "loop", level: "warning", without: "pools with backend=image and raw block volumes do not work" },
  { name: "bridge", level: "warning", without: "networks with mode bridge do not work" },
];

export function checkKernel({ release, features, fileSystems }: KernelFacts): Finding[] {
  const findings = [checkRelease(release)];
  for (const { name, level, without } of needed) {
    const state = features[name] ?? "unknown";
    if (state === "there") findings.push(ok(name, "the kernel has it"));
    else if (state === "unknown")
      findings.push(
        unknown(
          name,
          "neither /sys/module nor /lib/modules nor its configuration tells whether the kernel has it",
        ),
      );
    else {
      const wrong = level === "error" ? error : warning;
      findings.push(
        wrong(name, {
          cause: `the kernel ${release} has no ${name}`,
          consequence: without,
          remedy: `install the package with the kernel's other modules (linux-modules-extra, kernel-modules) and run 'modprobe ${name}', or use a kernel that has it`,
        }),
      );
    }
  }
  const disks = ["ext4", "xfs", "btrfs"].filter((name) => fileSystems.includes(name));
  findings.push(
    ok(
      "file systems",
      disks.length > 0 ? `${disks.join(", ")} can be mounted` : "loaded when they are mounted",
    ),
  );
  return findings;
}

function checkRelease(release: string): Finding {
  const [major = 0, minor = 0] = release.split(".").map((part) => Number.parseInt(part, 10));
  const isNew = major > MINIMUM[0] || (major === MINIMUM[0] && minor >= MINIMUM[1]);
  if (isNew) return ok("version", `Linux ${release}`);
  return error("version", {
    cause: `Linux ${release} is older than ${MINIMUM.join(".")}`,
    consequence: "volumes cannot be published, and quotas cannot be set",
    remedy: `install a kernel from ${MINIMUM.join(".")} on and boot it`,
  });
}
