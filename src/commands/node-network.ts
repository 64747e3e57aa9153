/**
 * What the agent does for the network beside answering calls: routes to other nodes, no masquerade to their pods, the node's own podCIDRs
 * on file, a look at the MTU now and then, libcni's cache mended once. All of it may fail or be late: pods are added and deleted without it.
 */
import { repairCache } from "../cni/cache-repair.ts";
import { writePodCidrs } from "../cni/ipam/pod-cidrs.ts";
import { watchMtu } from "../cni/mtu-watch.ts";
import { type ClusterNetworks, keepClusterNetworks } from "../cni/node-routes/cluster-networks.ts";
import { keepNodeRoutes, type NodeRoutes } from "../cni/node-routes/keeper.ts";
import { routesToPeers } from "../cni/node-routes/peers.ts";
import type { NodeConfig } from "../config/node.ts";
import { asTrivetError } from "../errors.ts";
import type { ClusterAccess } from "../kube/access.ts";
import { createApiClient } from "../kube/api-client.ts";
import { type Nodes, watchNodes } from "../kube/node-watch.ts";
import type { Log } from "../observe/log.ts";
import type { Metrics } from "../observe/metrics.ts";
import { version } from "../version.ts";
import type { NodeHost } from "./node-services.ts";

interface Observers {
  readonly log: Log;
  readonly metrics: Metrics;
}

/** Everything that runs beside the agent. */
export interface NodeNetwork {
  stop(): Promise<void>;
}

/** Begins at once and waits for nothing. */
export function startNodeNetwork(config: NodeConfig, host: NodeHost, observers: Observers): NodeNetwork {
  const { log, metrics } = observers;
  const { cni: settings } = config;
  const { stateDir } = settings;
  const underlayMtu = metrics.gauge(
    "trivet_cni_underlay_mtu",
    "MTU of the interface with the default route.",
  );
  const mtu = watchMtu({
    ...{ deps: host.cni, stateDir, log, onMtu: underlayMtu },
    apply: settings.mtuWatch === "apply",
  });
  const mended = mendCache(config, host, observers);
  const routes = startRoutes(config, host, observers);
  const networks = keepClusterNetworks({
    ...{ nft: host.cni.nft, clock: host.cni.clock, log, awaitsNodes: host.cluster !== undefined },
    staticNetworks: settings.nodeRoutes.map(({ destination }) => destination),
  });
  const { cluster } = host;
  const watch = cluster && startWatch({ config, host, observers, cluster, routes, networks });
  return {
    async stop() {
      await Promise.all([mtu.stop(), mended, routes.stop(), networks.stop(), watch?.stop()]);
    },
  };
}

async function mendCache({ cni }: NodeConfig, host: NodeHost, { log, metrics }: Observers): Promise<void> {
  const count = metrics.counter(
    "trivet_cni_cache_files_mended_total",
    "Broken files of the runtime's CNI cache that were mended, by how.",
    "how",
  );
  const { stateDir, cacheDir, confDir } = cni;
  try {
    const { rebuilt, dropped } = await repairCache({ deps: host.cni, stateDir, cacheDir, confDir, log });
    count(rebuilt.length, "rebuilt");
    count(dropped.length, "dropped");
  } catch (error) {
    log.warn("the runtime's CNI cache could not be looked at", {
      cacheDir,
      error: asTrivetError(error, "cache.repair", cacheDir).message,
    });
  }
}

function startRoutes({ cni }: NodeConfig, host: NodeHost, { log, metrics }: Observers): NodeRoutes {
  const count = metrics.gauge("trivet_cni_node_routes", "Routes to other nodes, by how they stand.", "state");
  const repaired = metrics.counter(
    "trivet_cni_node_routes_repaired_total",
    "Routes to other nodes that something had taken away.",
  );
  return keepNodeRoutes({
    ...{ netlink: host.cni.netlink, clock: host.cni.clock, log, staticRoutes: cni.nodeRoutes },
    // With nothing to go by, nothing is removed either: another agent of this host may have made it.
    awaitsNodes: cni.routesFromNodes && (host.cluster !== undefined || cni.nodeRoutes.length === 0),
    observer: {
      pass({ installed, skipped, conflicts, refused }) {
        count(installed, "installed");
        count(skipped, "skipped");
        count(conflicts, "conflict");
        count(refused, "refused");
      },
      repaired: (routes) => repaired(routes),
    },
  });
}

interface Watching {
  readonly config: NodeConfig;
  readonly host: NodeHost;
  readonly observers: Observers;
  readonly cluster: ClusterAccess;
  readonly routes: NodeRoutes;
  readonly networks: ClusterNetworks;
}

function startWatch({ config, host, observers, cluster, routes, networks }: Watching): NodeNetwork {
  const { log, metrics } = observers;
  const { clock } = host.cni;
  const restarts = metrics.counter(
    "trivet_kube_watch_restarts_total",
    "Watches of nodes that were begun, by what was before.",
    "reason",
  );
  const heard = metrics.gauge(
    "trivet_kube_last_heard_timestamp_seconds",
    "When the API server last told something about nodes.",
  );
  const client = createApiClient({ access: cluster, clock, userAgent: `trivet/${version}` });
  const own = keepOwnCidrs(config, host, log);
  const watch = watchNodes({
    ...{ client, clock, log, random: Math.random },
    observer: { restarted: (reason) => restarts(1, reason), heard: () => heard(clock.nowMs() / 1000) },
    onNodes: (nodes) => {
      own.learn(nodes);
      networks.learn([...nodes.values()].flatMap(({ podCidrs }) => podCidrs));
      if (!config.cni.routesFromNodes) return;
      const peers = routesToPeers(nodes.values(), config.nodeId);
      routes.setPeers(peers.routes, peers.refused);
    },
  });
  return {
    async stop() {
      await watch.stop();
      client.close();
      await own.settled();
    },
  };
}

/** This node's podCIDRs, on file for whoever runs an ADD. Written one after another. */
function keepOwnCidrs({ nodeId, cni }: NodeConfig, host: NodeHost, log: Log) {
  let turn = Promise.resolve();
  let seen = "";
  const write = async (cidrs: readonly string[]) => {
    try {
      if (!(await writePodCidrs(host.cni.files, cni.stateDir, cidrs))) return;
      log.info("the pod networks of this node are on file", { podCIDRs: cidrs });
    } catch (error) {
      seen = ""; // the next event tries again
      const { message } = asTrivetError(error, "podCIDRs.write", cni.stateDir);
      log.warn("the pod networks of this node could not be written", { error: message });
    }
  };
  return {
    learn(nodes: Nodes) {
      const cidrs = nodes.get(nodeId)?.podCidrs ?? [];
      if (cidrs.length === 0 || cidrs.join() === seen) return;
      seen = cidrs.join();
      turn = turn.then(() => write(cidrs));
    },
    settled: () => turn,
  };
}
