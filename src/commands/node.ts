/** `trivet node`: the CSI driver and the CNI agent of one node. */
import { Command } from "commander";
import { defaultCacheDir } from "../cni/libcni-cache.ts";
import { formatStaticRoute } from "../cni/node-routes/peers.ts";
import { defaultStateDir as defaultCniStateDir } from "../cni/protocol/defaults.ts";
import {
  defaultCniSocket,
  defaultConfDir,
  defaultHealthAddress,
  defaultKubeletRoot,
  defaultStateDir,
  type NodeConfig,
  nodeFileSchema,
} from "../config/node.ts";
import { formatTcpAddress } from "../config/values.ts";
import { addSettings, printSettings, readSettings, type Setting } from "./settings.ts";

/** All of them, for verbs that take some of the same. */
export const nodeSettings: readonly Setting[] = [
  {
    path: "node.nodeId",
    flag: "--node-id <name>",
    help: "name of this node in Kubernetes",
    env: "NODE_NAME",
  },
  {
    path: "node.csi.endpoint",
    flag: "--csi-endpoint <address>",
    help: "socket of the CSI driver, unix:///DIR/csi.sock",
    env: "CSI_ENDPOINT",
    default: "below the kubelet's directory",
  },
  {
    path: "node.csi.adminSocket",
    flag: "--storage-socket <address>",
    help: "where `trivet storage` asks, unix:///PATH; only root can open it",
    default: "unix:///run/trivet/storage.sock, or storage.sock in another state directory",
  },
  {
    path: "node.csi.pools",
    flag: "--pool <pool>",
    help: "NAME=PATH[,backend=auto|quota|image|directory] [,budget=10Gi] [,reserve=1Gi], and requireMount, onlyNamed, drain, preallocate =true or =false, without the spaces; may be repeated",
    list: true,
    default: "default=<state-dir>/pool",
  },
  {
    path: "node.csi.poolChoice",
    flag: "--pool-choice <choice>",
    help: "the pool of a volume whose class names none, or several: default, most-free, least-used or round-robin",
    default: "default",
  },
  {
    path: "node.csi.inlineMaxSize",
    flag: "--inline-max-size <size>",
    help: "allow inline volumes of pods up to this size, such as 1Gi; whoever may make a pod may then make volumes",
    default: "no inline volumes",
  },
  {
    path: "node.kubeletRoot",
    flag: "--kubelet-root <dir>",
    help: "the kubelet's directory; volumes are published only below it",
    default: defaultKubeletRoot,
  },
  {
    path: "node.register",
    flag: "--register",
    help: "announce the CSI driver to the kubelet (1.29 or newer; older ones need the registrar sidecar)",
  },
  {
    path: "node.stateDir",
    flag: "--state-dir <dir>",
    help: "what outlives a boot: the registry of pools",
    default: defaultStateDir,
  },
  {
    path: "node.cni.socket",
    flag: "--cni-socket <address>",
    help: "socket of the CNI agent, unix:///PATH; the plugin's configuration names it too",
    default: defaultCniSocket,
  },
  {
    path: "node.cni.stateDir",
    flag: "--cni-state-dir <dir>",
    help: "where leases are; at start those of earlier boots are removed. As in the plugin's configuration",
    default: defaultCniStateDir,
  },
  {
    path: "node.cni.criSocket",
    flag: "--cri-socket <address>",
    help: "the container runtime's socket, unix:///PATH: asked which pods live before their leftovers are removed",
    default: "only the kernel is asked",
  },
  {
    path: "node.cni.nodeRoutes",
    flag: "--node-route <route>",
    help: "a route to the pods of another node, where no API server tells it: 10.42.1.0/24=192.168.1.2; may be repeated",
    list: true,
  },
  {
    path: "node.cni.routesFromNodes",
    flag: "--no-node-routes",
    help: "make no routes from the podCIDRs of other nodes: something else does",
  },
  {
    path: "node.cni.mtuWatch",
    flag: "--mtu-watch <what>",
    help: "log or apply: when the MTU of the default route's interface changes, tell it, or give it to running pods too",
    default: "log",
  },
  {
    path: "node.cni.cacheDir",
    flag: "--cni-cache-dir <dir>",
    help: "the runtime's CNI cache; broken files of our networks in it are mended at start",
    default: defaultCacheDir,
  },
  {
    path: "node.cni.confDir",
    flag: "--cni-conf-dir <dir>",
    help: "where network configurations are",
    default: defaultConfDir,
  },
  {
    path: "node.kubeconfig",
    flag: "--kubeconfig <file>",
    help: "how to reach the API server; without it the service account of the pod is used, if there is one",
  },
  {
    path: "node.kubernetes",
    flag: "--no-kubernetes",
    help: "never ask the API server",
  },
  {
    path: "node.healthAddress",
    flag: "--health-address <host:port>",
    help: "serve /healthz, /readyz and /metrics here",
    default: defaultHealthAddress,
  },
  {
    path: "node.drainSeconds",
    flag: "--drain-seconds <seconds>",
    help: "how long calls in flight may take to end when told to stop",
    default: "20",
  },
  { path: "node.csi.enabled", flag: "--no-csi", help: "do not serve the CSI driver" },
  { path: "node.cni.enabled", flag: "--no-cni", help: "do not serve the CNI agent" },
];

/** The settings that these arguments of `trivet node` come to. Throws as the verb would. */
export function readNodeSettings(args: readonly string[]) {
  const command = new Command("node").exitOverride();
  addSettings(command, nodeSettings);
  command.parse(args, { from: "user" });
  return readSettings(command, nodeSettings, nodeFileSchema);
}

export function define(command: Command): void {
  addSettings(command, nodeSettings);
  command.addHelpText(
    "after",
    `
Example:
  trivet node --node-id node-1 --pool default=/var/lib/trivet/pool --pool fast=/mnt/nvme,budget=500Gi

It is ready when /readyz says so. SIGTERM lets calls in flight end; a second signal ends it at once.`,
  );
  command.action(async () => {
    const { node, logLevel } = await readSettings(command, nodeSettings, nodeFileSchema);
    if (printSettings(command, { logLevel, node: toFile(node) })) return;
    // Loaded only now: help and a mistake in the settings need nothing of it.
    const { runNode } = await import("./node-process.ts");
    await runNode(node, logLevel);
  });
}

/** The settings in force, in the form that the file has. */
function toFile({ healthAddress, drainSeconds, csi, cni, ...rest }: NodeConfig): Record<string, unknown> {
  return {
    ...rest,
    healthAddress: formatTcpAddress(healthAddress),
    drainSeconds: drainSeconds / 1000,
    csi: {
      ...csi,
      copyWaitSeconds: csi.copyWaitSeconds / 1000,
      endpoint: `unix://${csi.endpoint}`,
      adminSocket: `unix://${csi.adminSocket}`,
      pools: csi.pools.map(({ budgetBytes, reserveBytes, ...pool }) => ({
        ...pool,
        ...(budgetBytes !== undefined && { budget: budgetBytes }),
        ...(reserveBytes !== undefined && { reserve: reserveBytes }),
      })),
    },
    cni: {
      ...cni,
      socket: `unix://${cni.socket}`,
      ...(cni.criSocket !== undefined && { criSocket: `unix://${cni.criSocket}` }),
      nodeRoutes: cni.nodeRoutes.map(formatStaticRoute),
    },
  };
}
