/** The Node service: shows volumes to pods and takes them away again. */
import type { Files } from "../host/files.ts";
import type { Mounts } from "../host/mount.ts";
import type { Call, Handler } from "./call.ts";
import { parseCapability } from "./capability.ts";
import type { KeyedLock } from "./keyed-lock.ts";
import { publish, unpublish } from "./node/publish.ts";
import { parseTarget, type Target } from "./node/target.ts";
import { dataDirectory } from "./pool/layout.ts";
import type { Pools } from "./pool/pools.ts";
import { invalid, refusal } from "./refusal.ts";
import { nodeTopology } from "./topology.ts";
import { parseVolumeId } from "./volume/id.ts";
import { isMissing } from "./volume/read.ts";
import type { NodePublishVolumeRequest, NodeUnpublishVolumeRequest } from "./wire.ts";

/** `nodeId` is the name of the node; `kubeletRoot` the only place where targets may lie. */
export interface NodeDeps {
  readonly files: Files;
  readonly mounts: Mounts;
  readonly pools: Pools;
  readonly lock: KeyedLock;
  readonly nodeId: string;
  readonly kubeletRoot: string;
}

/** The handlers of the service by method; what is missing here is refused by `driver.ts`. */
export function createNode(deps: NodeDeps) {
  const topology = nodeTopology(deps.nodeId);
  return {
    NodePublishVolume: publishHandler(deps),
    NodeUnpublishVolume: unpublishHandler(deps),
    NodeGetCapabilities: async () => ({ capabilities: [{ rpc: { type: "SINGLE_NODE_MULTI_WRITER" } }] }),
    NodeGetInfo: async () => ({ node_id: deps.nodeId, accessible_topology: topology }),
  } satisfies Record<string, Handler<never>>;
}

function publishHandler(deps: NodeDeps) {
  return async (request: NodePublishVolumeRequest, call: Call) => {
    const { volume_id, target_path, volume_capability } = request;
    if (volume_id === "") throw invalid("volume_id", "is missing");
    if (target_path === "") throw invalid("target_path", "is missing");
    if (!volume_capability) throw invalid("volume_capability", "is missing");
    const capability = parseCapability("volume_capability", volume_capability);
    const target = await locate(deps, target_path);
    const id = parseVolumeId(volume_id);
    if (!id) throw unknown(volume_id);
    call.about(id);
    await deps.lock.run([id, target.path], async () => {
      const found = await deps.pools.find(id);
      if (!found) throw unknown(volume_id);
      const source = dataDirectory(found.pool.layout, id);
      await requireDirectory(deps.files, source);
      call.check();
      await publish(deps, { source, target, capability, readOnly: request.readonly });
    });
    return {};
  };
}

function unpublishHandler(deps: NodeDeps) {
  return async ({ volume_id, target_path }: NodeUnpublishVolumeRequest, call: Call) => {
    if (volume_id === "") throw invalid("volume_id", "is missing");
    if (target_path === "") throw invalid("target_path", "is missing");
    const target = await locate(deps, target_path);
    const id = parseVolumeId(volume_id);
    if (id) call.about(id);
    // Neither the pool nor the volume need be there: a mount is to go also when its disk has died.
    await deps.lock.run([volume_id, target.path], () => unpublish(deps, volume_id, target));
    return {};
  };
}

async function locate({ files, kubeletRoot }: NodeDeps, path: string): Promise<Target> {
  const realRoot = await files.realPath(kubeletRoot).catch((error: Error) => {
    throw refusal(
      "precondition",
      kubeletRoot,
      `the kubelet's directory ${kubeletRoot} cannot be reached: ${error.message}`,
      error,
    );
  });
  return parseTarget(path, { root: kubeletRoot, realRoot });
}

/** A volume that has a record and no data was damaged by hand: that is neither unknown nor to be made up for. */
async function requireDirectory(files: Files, source: string): Promise<void> {
  const kind = (await isMissing(files, source)) ? "missing" : (await files.stat(source)).kind;
  if (kind === "directory") return;
  throw refusal("precondition", source, `${source}, the data of the volume, is no directory (${kind})`);
}

function unknown(volumeId: string) {
  return refusal("not-found", volumeId, `there is no volume "${volumeId}" on this node`);
}
