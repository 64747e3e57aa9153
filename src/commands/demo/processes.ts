/** Trivet's processes as the demo starts them, and what it reads of their stores. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { createCsiClient } from "../../../test/fakes/kubelet/csi-client.ts";
import type { Lease } from "../../cni/ipam/leases.ts";
import { createDaemon, type Daemon, socketAnswers } from "./daemon.ts";
import type { DemoPaths } from "./files.ts";
import type { DemoLease } from "./stage.ts";

/** What follows `trivet node` on the command line. */
export function nodeArguments(paths: DemoPaths): string[] {
  return [
    ...["--node-id", "demo-node", "--csi-endpoint", `unix://${paths.csiSocket}`],
    ...["--pool", `default=${paths.pool},backend=directory`, "--kubelet-root", paths.kubelet],
    ...["--state-dir", paths.state, "--cni-socket", `unix://${paths.cniSocket}`],
    ...["--cni-state-dir", paths.cniState, "--cni-conf-dir", paths.cniConf, "--no-kubernetes"],
    ...["--health-address", "127.0.0.1:0", "--drain-seconds", "5"],
  ];
}

export function createNode(paths: DemoPaths): Daemon {
  const csi = createCsiClient(paths.csiSocket);
  return createDaemon({
    args: ["node", ...nodeArguments(paths)],
    logFile: join(paths.logs, "node.log"),
    ready: async () => {
      const probe = await csi.call("Probe").catch(() => undefined);
      return probe !== undefined && (await socketAnswers(paths.cniSocket)());
    },
  });
}

export function createCri(paths: DemoPaths): Daemon {
  return createDaemon({
    args: [
      "cri",
      ...["--listen", `unix://${paths.criSocket}`, "--upstream", `unix://${paths.runtime}/containerd.sock`],
      ...["--policy-dir", paths.policies, "--call-log", paths.callLog, "--drain-seconds", "5"],
    ],
    logFile: join(paths.logs, "cri.log"),
    ready: socketAnswers(paths.criSocket),
  });
}

/** Everything in the pool that is a volume, was one or is to become one. */
export async function listVolumes(paths: DemoPaths): Promise<string[]> {
  const directories = [
    join(paths.pool, "volumes"),
    join(paths.pool, ".pool/staging"),
    join(paths.pool, ".pool/trash"),
  ];
  const entries = await Promise.all(
    directories.map(async (directory) =>
      (await readdir(directory).catch(() => [])).map((name) => join(directory, name)),
    ),
  );
  return entries.flat();
}

/** A file in a volume, by the place where it lies in the pool. */
export async function readVolumeFile(paths: DemoPaths, volumeId: string, name: string) {
  const path = join(paths.pool, "volumes", volumeId, "data", name);
  return { path, content: await readFile(path, "utf8") };
}

export function toDemoLease({ address, containerId, ifname, state, pod }: Lease): DemoLease {
  return { address, containerId, ifname, state, pod: pod ? `${pod.namespace}/${pod.name}` : "" };
}
