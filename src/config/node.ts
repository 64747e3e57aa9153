/** The settings of `trivet node`: the section `node` of the file. */
import { join } from "node:path";
import * as v from "valibot";
import { defaultCacheDir } from "../cni/libcni-cache.ts";
import { type PeerRoute, parseStaticRoute } from "../cni/node-routes/peers.ts";
import { defaultStateDir as defaultCniStateDir, defaultSocket } from "../cni/protocol/defaults.ts";
import { driverName } from "../csi/names.ts";
import {
  backends,
  checkPools,
  completePool,
  DEFAULT_POOL,
  type PoolConfig,
  parsePoolFlag,
  poolChoices,
} from "../csi/pool/config.ts";
import { parseQuantity } from "../csi/pool/quantity.ts";
import { DEFAULT_CALL_WAIT_MS } from "../csi/snapshot/copies.ts";
import { absolutePath, logLevel, seconds, tcpAddress, text, unixAddress, yesNo } from "./values.ts";

export const defaultKubeletRoot = "/var/lib/kubelet";
/** What outlives a boot: the registry of pools, and the default pool. */
export const defaultStateDir = "/var/lib/trivet";
export const defaultCniSocket = `unix://${defaultSocket}`;
export const defaultHealthAddress = "127.0.0.1:9808";
export const defaultConfDir = "/etc/cni/net.d";
/** What becomes of running pods when the MTU of the underlay changes. */
export const mtuWatches = ["log", "apply"] as const;
const DEFAULT_DRAIN_SECONDS = 20;
// CSI limits a node id to 256 bytes, and a Kubernetes node name is at most 253.
const NODE_ID_MAX = 253;

/** Runs a parser that throws, and turns what it throws into an issue of the schema. */
function parsed<In, Out>(parse: (value: In) => Out) {
  return v.rawTransform<In, Out>(({ dataset, addIssue, NEVER }) => {
    try {
      return parse(dataset.value);
    } catch (error) {
      addIssue({ message: error instanceof Error ? error.message : String(error) });
      return NEVER;
    }
  });
}

const size = v.union(
  [v.pipe(v.number(), v.transform(String)), text],
  "must be a size such as 10Gi, or a number of bytes",
);

const poolObject = v.strictObject({
  name: text,
  path: text,
  backend: v.optional(v.picklist(backends), "auto"),
  budget: v.optional(size),
  reserve: v.optional(size),
  requireMount: v.optional(yesNo),
  onlyNamed: v.optional(yesNo),
  drain: v.optional(yesNo),
  preallocate: v.optional(yesNo),
});

/** Alone first, so that what is wrong with it is reported at its own path. */
function toPool({ budget, reserve, ...rest }: v.InferOutput<typeof poolObject>): PoolConfig {
  return completePool({
    ...rest,
    budgetBytes: budget === undefined ? undefined : parseQuantity("budget", budget),
    reserveBytes: reserve === undefined ? undefined : parseQuantity("reserve", reserve),
  });
}

/** A pool as `--pool` takes it, or as a mapping in the file. */
const pool = v.lazy((input) =>
  typeof input === "string" ? v.pipe(text, parsed(parsePoolFlag)) : v.pipe(poolObject, parsed(toPool)),
) as v.GenericSchema<unknown, PoolConfig>;

/** A route as `--node-route` takes it, or as a mapping in the file. */
const nodeRoute = v.lazy((input) =>
  typeof input === "string"
    ? v.pipe(text, parsed<string, PeerRoute>(parseStaticRoute))
    : v.pipe(
        v.strictObject({ podCIDR: text, via: text }),
        parsed<{ podCIDR: string; via: string }, PeerRoute>(({ podCIDR, via }) =>
          parseStaticRoute(`${podCIDR}=${via}`),
        ),
      ),
) as v.GenericSchema<unknown, PeerRoute>;

const nodeId = v.pipe(
  text,
  v.regex(
    /^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/,
    "must be a node name: letters, digits, dots and dashes",
  ),
  v.maxLength(NODE_ID_MAX, `must have at most ${NODE_ID_MAX} characters`),
);

export const nodeSchema = v.pipe(
  v.strictObject({
    nodeId,
    /** Whether to announce the driver to the kubelet; otherwise a registrar sidecar does. */
    register: v.optional(yesNo, false),
    kubeletRoot: v.optional(absolutePath, defaultKubeletRoot),
    /** Whether the API server is asked at all: in a pod, or where there is a kubeconfig. */
    kubernetes: v.optional(yesNo, true),
    kubeconfig: v.optional(absolutePath),
    stateDir: v.optional(absolutePath, defaultStateDir),
    healthAddress: v.optional(tcpAddress, defaultHealthAddress),
    drainSeconds: v.optional(seconds, DEFAULT_DRAIN_SECONDS),
    csi: v.optional(
      v.strictObject({
        enabled: v.optional(yesNo, true),
        endpoint: v.optional(unixAddress),
        /** Where `trivet storage` asks. */
        adminSocket: v.optional(unixAddress),
        pools: v.optional(
          v.pipe(
            v.array(pool, "must be a list of pools"),
            parsed<PoolConfig[], readonly PoolConfig[]>(checkPools),
          ),
        ),
        /** Which pool a volume gets whose class names none, or several. */
        poolChoice: v.optional(
          v.picklist(poolChoices, `must be one of ${poolChoices.join(", ")}`),
          "default",
        ),
        /** How long a call waits for a copy before it answers ABORTED: less than the sidecars wait (`--timeout`). */
        copyWaitSeconds: v.optional(seconds, DEFAULT_CALL_WAIT_MS / 1_000),
        /** Whether GetSnapshot is offered. */
        getSnapshot: v.optional(yesNo, false),
        /** The largest inline volume of a pod. Absent: pods get none. */
        inlineMaxSize: v.optional(
          v.pipe(
            size,
            parsed((value: string) => parseQuantity("it", value)),
          ),
        ),
      }),
      {},
    ),
    cni: v.optional(
      v.strictObject({
        enabled: v.optional(yesNo, true),
        socket: v.optional(unixAddress, defaultCniSocket),
        stateDir: v.optional(absolutePath, defaultCniStateDir),
        /** The container runtime's: asked which sandboxes live before leftovers of pods are removed. */
        criSocket: v.optional(unixAddress),
        /** Whether routes to other nodes follow their podCIDRs. */
        routesFromNodes: v.optional(yesNo, true),
        nodeRoutes: v.optional(v.array(nodeRoute, "must be a list of routes"), []),
        mtuWatch: v.optional(v.picklist(mtuWatches, `must be one of ${mtuWatches.join(", ")}`), "log"),
        /** Of libcni and of network configurations, for mending the files of our networks. */
        cacheDir: v.optional(absolutePath, defaultCacheDir),
        confDir: v.optional(absolutePath, defaultConfDir),
      }),
      {},
    ),
  }),
  v.check(({ csi, cni }) => csi.enabled || cni.enabled, "has nothing to serve: csi and cni are both off"),
  // Defaults that follow from other settings.
  v.transform((node) => ({
    ...node,
    csi: {
      ...node.csi,
      adminSocket: node.csi.adminSocket ?? defaultStorageSocket(node.stateDir),
      endpoint: node.csi.endpoint ?? join(node.kubeletRoot, `plugins/${driverName}/csi.sock`),
      pools: node.csi.pools ?? [defaultPool(node.stateDir)],
    },
  })),
);

/** A node whose state lies elsewhere is another node, such as a test's: it gets a socket of its own. */
export function defaultStorageSocket(stateDir: string): string {
  return stateDir === defaultStateDir ? "/run/trivet/storage.sock" : join(stateDir, "storage.sock");
}

function defaultPool(stateDir: string): PoolConfig {
  return { name: DEFAULT_POOL, path: join(stateDir, "pool"), backend: "auto", requireMount: false };
}

/** The whole file as `trivet node` reads it: the other sections are the business of the other verbs. */
export const nodeFileSchema = v.strictObject({
  logLevel: v.optional(logLevel, "info"),
  // An empty section, so that what is missing is reported by its own path.
  node: v.optional(nodeSchema, {} as { nodeId: string }),
  cri: v.optional(v.unknown()),
});

export type NodeConfig = v.InferOutput<typeof nodeSchema>;
