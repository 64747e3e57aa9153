/**
 * The demo without root: the runtime is the tests' fake containerd, and mounts, links, namespaces and nft are the tests'
 * in-memory fakes. What is real: files, sockets, gRPC, the CSI and CNI legs with their stores, and the proxy's process.
 */
import { randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { busyboxImage } from "../../../test/e2e/support/oci-archive.ts";
import { createFakeConntrack } from "../../../test/fakes/conntrack.ts";
import { type FakeContainerd, startFakeContainerd } from "../../../test/fakes/containerd/server.ts";
import { createFakeMounts, type FakeMounts } from "../../../test/fakes/mount.ts";
import { FakeKernel, FakeProcess } from "../../../test/fakes/netlink.ts";
import { createFakeNft, FakeTables } from "../../../test/fakes/nft.ts";
import { createFakeSysctl, forgetLink } from "../../../test/fakes/sysctl.ts";
import { readBootId } from "../../cni/deps.ts";
import { listLeases } from "../../cni/ipam/leases.ts";
import { createFiles } from "../../host/files.ts";
import { createSyscalls } from "../../host/syscall.ts";
import { createSysctl } from "../../host/sysctl.ts";
import { createLog } from "../../observe/log.ts";
import { createCsiDeps } from "../host.ts";
import { readNodeSettings } from "../node.ts";
import { type NodeHost, type NodeServices, startNodeServices } from "../node-services.ts";
import type { Daemon } from "./daemon.ts";
import { type DemoPaths, networkConfig, networkName, writePolicy } from "./files.ts";
import { readHostState } from "./host-state.ts";
import { createCri, listVolumes, nodeArguments, readVolumeFile, toDemoLease } from "./processes.ts";
import { createSimulatedCni, createSimulatedContainer } from "./simulated-pod.ts";
import type { Stage } from "./stage.ts";

const SUBNET = "10.190.7.0/24";
const STOP_TIMEOUT_MS = 5_000;

/** The fakes that stand for the kernel; they outlive the services as a kernel outlives processes. */
export interface SimulatedKernel {
  readonly network: FakeKernel;
  readonly process: FakeProcess;
  readonly mounts: FakeMounts;
  readonly nftTables: FakeTables;
  readonly sysctls: Map<string, string>;
}

function createKernel(): SimulatedKernel {
  const network = new FakeKernel();
  const sysctls = new Map([["net.ipv4.ip_forward", "0"]]);
  network.host.onLinkGone = (name) => forgetLink(sysctls, name);
  return {
    network,
    process: new FakeProcess(network),
    mounts: createFakeMounts({ files: createFiles(createSyscalls()) }),
    nftTables: new FakeTables(),
    sysctls,
  };
}

async function createHost(kernel: SimulatedKernel): Promise<NodeHost> {
  const csi = await createCsiDeps(createSyscalls());
  return {
    csi: { ...csi, mounts: kernel.mounts },
    cni: {
      files: csi.files,
      clock: csi.clock,
      netns: kernel.process.netns,
      netlink: kernel.process.netlink,
      nft: createFakeNft(kernel.nftTables),
      conntrack: createFakeConntrack(),
      sysctl: createFakeSysctl(kernel.sysctls),
      // The machine's own: state of any other boot counts as left over, and the agent removes it.
      bootId: await readBootId(createSysctl({ within: (_netns, action) => action() })),
      nonce: () => randomBytes(8).toString("hex"),
    },
  };
}

/** `trivet node` within this process, since a process of its own could not share the fakes. */
async function createNode(paths: DemoPaths, host: NodeHost): Promise<Daemon> {
  const lines: string[] = [];
  const log = createLog("node", "info", { write: (line: string) => void lines.push(line.trimEnd()) });
  const { node } = await readNodeSettings(nodeArguments(paths));
  let services: NodeServices | undefined;
  const stop = async () => {
    await services?.stop({ timeoutMs: STOP_TIMEOUT_MS });
    services = undefined;
    return 0;
  };
  return {
    pid: undefined,
    async start() {
      services = await startNodeServices(node, host, log);
    },
    stop,
    kill: async () => void (await stop()),
    logTail: async (count) => lines.slice(-count),
  };
}

function stateOf({ network, mounts, nftTables, sysctls }: SimulatedKernel): Promise<string[]> {
  return mounts
    .list()
    .then((table) => [
      ...network.describe().map((line) => `simulated network: ${line}`),
      ...table.map(({ mountPoint }) => `simulated mount ${mountPoint}`),
      ...[...nftTables.keys()].map((name) => `simulated nft table ${name}`),
      ...[...sysctls].map(([name, value]) => `simulated sysctl ${name} = ${value}`),
    ]);
}

export async function createStage(paths: DemoPaths): Promise<Stage> {
  const kernel = createKernel();
  const host = await createHost(kernel);
  const node = await createNode(paths, host);
  const cri = createCri(paths);
  let containerd: FakeContainerd | undefined;
  return {
    paths,
    subnet: SUBNET,
    image: busyboxImage,
    node,
    cri,
    async start(steps) {
      await writePolicy(paths);
      await mkdir(paths.runtime, { recursive: true });
      const config = { cniVersion: "1.0.0", name: networkName, ...networkConfig(paths, SUBNET) };
      await writeFile(join(paths.cniConf, "10-trivet.conf"), JSON.stringify(config));
      containerd = await steps.run("fake containerd", "the one of the tests: no process is run", () =>
        startFakeContainerd({
          path: join(paths.runtime, "containerd.sock"),
          images: [busyboxImage],
          cni: createSimulatedCni(kernel, host.cni, JSON.stringify(config)),
          run: createSimulatedContainer(kernel),
        }),
      );
      await steps.run("trivet node", "CSI driver and CNI agent, on a simulated kernel", () => node.start());
      await steps.run("trivet cri", "in front of the fake containerd", () => cri.start());
    },
    leases: async () => (await listLeases(host.cni, paths.cniState)).map(toDemoLease),
    readVolumeFile: (volumeId, name) => readVolumeFile(paths, volumeId, name),
    volumes: () => listVolumes(paths),
    async stop() {
      await cri.stop();
      await node.stop();
      await containerd?.stop();
      kernel.nftTables.clear();
      kernel.sysctls.set("net.ipv4.ip_forward", "0");
    },
    hostState: async () => new Set([...(await readHostState(paths.root)), ...(await stateOf(kernel))]),
  };
}
