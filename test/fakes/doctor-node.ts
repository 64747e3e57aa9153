/** A node as doctor knows it, on which everything is as it should be, and ways of changing one thing. */
import { diagnose } from "../../src/commands/doctor/diagnose.ts";
import type { DiskFacts, NodeFacts, RuntimeNetwork } from "../../src/commands/doctor/facts.ts";
import type { PoolStatus } from "../../src/csi/pool/pool.ts";
import type { MountInfo } from "../../src/host/mount.ts";
import type { KubeletSetup } from "../../src/install/kubelet/setup.ts";

export const conflist = JSON.stringify({ cniVersion: "1.0.0", name: "pods", plugins: [{ type: "trivet" }] });
export const GiB = 2 ** 30;

export const pool: PoolStatus = {
  ...{
    name: "default",
    path: "/var/lib/trivet/pool",
    backend: "quota",
    enforced: true,
    how: "XFS project quota",
  },
  ...{ state: "ready", budgetBytes: 100 * GiB, reservedBytes: 10 * GiB, availableBytes: 90 * GiB },
  ...{ volumes: 3, trashed: 0, quarantined: [] },
};
export const space = {
  ...{ type: 0x58465342, totalBytes: 100 * GiB, freeBytes: 80 * GiB, availableBytes: 80 * GiB },
  ...{ totalInodes: 1000, freeInodes: 900 },
};
export const runtime = { name: "containerd", version: "v1.7.40", notReady: [] };
export const setup: KubeletSetup = {
  ...{
    distribution: "kubeadm",
    process: { pid: 1, startTicks: 1n, argv: [], service: undefined },
    service: "kubelet.service",
  },
  ...{
    runtime: { place: { kind: "configuration", path: "/c" }, path: "/run/trivet/cri.sock" },
    image: undefined,
  },
  ...{ healthUrl: undefined, notes: [] },
};

export const mount: MountInfo = {
  ...{ id: 1, parentId: 0, device: "8:1", root: "/", mountPoint: "/data", fsType: "xfs" },
  ...{ source: "/dev/sdb1", options: ["rw"], superOptions: ["rw", "prjquota"] },
};
export const disk: DiskFacts = { space, mount, quotas: { value: "enforced" }, isInFstab: false };
export const network: RuntimeNetwork = {
  ...{ binDirs: ["/opt/cni/bin"], confDir: "/etc/cni/net.d", maxConfNum: 1, usesLoopbackPlugin: true },
};

/** A node on which everything is as it should be. */
export const well: NodeFacts = {
  daemon: {
    ...{ healthUrl: "http://127.0.0.1:9808", notReady: { value: undefined }, version: "0.1.0" },
    ...{ servesVolumes: true, servesNetwork: true, isRegistered: true, degraded: [], sweepFailures: 0 },
  },
  proxy: { recordsLost: 0, failedReloads: 0, unimplemented: [], unknownToUs: [] },
  kernel: {
    release: "6.1.0",
    features: Object.fromEntries(
      ["veth", "nf_tables", "nft_masq", "nft_nat", "overlay", "loop", "bridge", "xfs_quota", "quota_v2"].map(
        (name) => [name, "there" as const],
      ),
    ),
    fileSystems: ["ext4", "xfs"],
  },
  storage: {
    pools: { value: [{ status: pool, disk }] },
    configured: [],
    ...{ abnormal: { value: [] }, orphans: { value: {} }, missingPrograms: [] },
  },
  network: {
    configurations: new Map([["10-trivet.conflist", conflist]]),
    ...{ confDir: "/etc/cni/net.d", binDir: "/opt/cni/bin", plugin: "native", loopback: true },
    ...{ strayed: [], agentAnswers: true },
    status: { value: undefined },
  },
  runtime: {
    ...{ socket: "/run/containerd/containerd.sock", direct: { value: runtime } },
    ...{ proxySocket: "/run/trivet/cri.sock", proxied: { value: runtime }, proxyIsThere: true },
    network,
  },
  kubelet: {
    ...{ setup: { value: setup }, version: [1, 31], root: "/var/lib/kubelet", isShared: true },
    ...{ registersItself: true, hasRegistrar: false, endpoint: "/run/trivet/cri.sock" },
  },
  sockets: [{ path: "/run/trivet/cri.sock", serves: "the CRI proxy", state: "answers", mode: 0o600, uid: 0 }],
  install: {
    ...{
      own: "0.1.0",
      current: "0.1.0",
      currentIsWhole: true,
      proxy: "0.1.0",
      unfinished: [],
      proxyAtBoot: true,
    },
  },
};

/** The node with parts changed, one level deep. */
export function node(changes: { [Part in keyof NodeFacts]?: Partial<NodeFacts[Part]> }): NodeFacts {
  const parts = Object.entries(well).map(([name, part]) => {
    const change = changes[name as keyof NodeFacts];
    if (change === undefined) return [name, part];
    return [name, Array.isArray(change) ? change : { ...part, ...change }];
  });
  return Object.fromEntries(parts) as NodeFacts;
}

export const withPool = (
  changes: Partial<PoolStatus>,
  changedSpace: Partial<typeof space> = {},
  changedDisk: Partial<DiskFacts> = {},
) => {
  const below = { ...disk, ...changedDisk, space: { ...space, ...changedSpace } };
  return node({ storage: { pools: { value: [{ status: { ...pool, ...changes }, disk: below }] } } });
};

export const wrong = (facts: NodeFacts) =>
  diagnose(facts).filter(({ level }) => level === "error" || level === "warning");
