/**
 * The demo on the real machine: a private containerd, Trivet's own processes, the kernel. Everything that it starts
 * lies below its directory; what Trivet changes of the machine (a sysctl, an nft table) is put back at the end.
 */
import { readFile } from "node:fs/promises";
import { type PrivateContainerd, startContainerd } from "../../../test/e2e/support/containerd.ts";
import { busyboxImage } from "../../../test/e2e/support/oci-archive.ts";
import type { StepRecorder } from "../../../test/fakes/kubelet/timing.ts";
import { ruleTable } from "../../cni/datapath/rule-table.ts";
import { listLeases } from "../../cni/ipam/leases.ts";
import { TrivetError } from "../../errors.ts";
import { createMounts, type Mounts } from "../../host/mount.ts";
import { createSyscalls } from "../../host/syscall.ts";
import { createCniDeps } from "../host.ts";
import { type DemoPaths, writeCniFiles, writePolicy } from "./files.ts";
import { readHostState } from "./host-state.ts";
import { findLoopbackPlugin } from "./prerequisites.ts";
import { createCri, createNode, listVolumes, readVolumeFile, toDemoLease } from "./processes.ts";
import type { Stage } from "./stage.ts";
import { freeSubnet } from "./subnet.ts";

const IP_FORWARD = "net.ipv4.ip_forward";

function requireSubnet(routes: string): string {
  const subnet = freeSubnet(routes);
  if (subnet !== undefined) return subnet;
  const message = "no network of 10.190.7.0/24 to 10.253.7.0/24 is free on this machine for the demo's pods";
  throw new TrivetError({ kind: "precondition", op: "demo.subnet", subject: "routes", message });
}

/** Refuses to start where a Trivet is at work: the demo would take its nft table away at the end. */
async function requireNoTrivet(nft: {
  readRules(table: string): Promise<{ parts: readonly unknown[] }>;
}): Promise<void> {
  if ((await nft.readRules(ruleTable)).parts.length === 0) return;
  const message = `the nft table "${ruleTable}" exists: Trivet is installed on this machine, and the demo would disturb it`;
  throw new TrivetError({ kind: "precondition", op: "demo.start", subject: ruleTable, message });
}

/** What a demo that was broken off left published; each mount in its turn, the last one first. */
async function unmountBelow(mounts: Mounts, directory: string): Promise<void> {
  const below = (await mounts.list()).filter(({ mountPoint }) => mountPoint.startsWith(`${directory}/`));
  for (const { mountPoint } of below.reverse()) await mounts.unmount(mountPoint);
}

export async function createStage(paths: DemoPaths): Promise<Stage> {
  const syscalls = createSyscalls();
  const host = await createCniDeps(syscalls);
  const mounts = createMounts(syscalls);
  await requireNoTrivet(host.nft);
  const subnet = requireSubnet(await readFile("/proc/net/route", "utf8"));
  const ipForward = await host.sysctl.read(IP_FORWARD);
  const node = createNode(paths);
  const cri = createCri(paths);
  let containerd: PrivateContainerd | undefined;
  return {
    paths,
    subnet,
    image: busyboxImage,
    node,
    cri,
    async start(steps: StepRecorder) {
      await writeCniFiles(paths, subnet, await findLoopbackPlugin());
      await writePolicy(paths);
      const directories = { root: paths.runtime, cniBinDir: paths.cniBin, cniConfDir: paths.cniConf };
      await steps.run("containerd", `a private one, below ${paths.runtime}`, async () => {
        containerd = await startContainerd(directories);
      });
      await steps.run("trivet node", "CSI driver and CNI agent", () => node.start());
      await steps.run("trivet cri", "in front of that containerd", () => cri.start());
    },
    leases: async () => (await listLeases(host, paths.cniState)).map(toDemoLease),
    readVolumeFile: (volumeId, name) => readVolumeFile(paths, volumeId, name),
    volumes: () => listVolumes(paths),
    async stop() {
      const parts = [
        () => cri.stop(),
        // Before the agent: it takes down what pods are left, and their network with them.
        () => containerd?.stop(),
        () => node.stop(),
        () => unmountBelow(mounts, paths.root),
        () => host.nft.removeTable(ruleTable),
        () => host.sysctl.write(IP_FORWARD, ipForward),
      ];
      const failures: unknown[] = [];
      for (const part of parts) await Promise.resolve(part()).catch((error: unknown) => failures.push(error));
      if (failures.length > 0) throw failures[0];
    },
    async hostState() {
      const { parts, networks } = await host.nft.readRules(ruleTable);
      const table = parts.length + networks.length > 0 ? [`nft table ${ruleTable}`] : [];
      return new Set([...(await readHostState(paths.root)), ...table]);
    },
  };
}
