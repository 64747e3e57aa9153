/** The Node service: shows volumes to pods and takes them away again. */
import { withCleanupFailure } from "../errors.ts";
import { type Call, type Handler, ownCall } from "./call.ts";
import { parseCapability } from "./capability.ts";
import { expandHandler } from "./node/expand.ts";
import { hide } from "./node/hide.ts";
import { createInlineVolumes, type InlineDeps } from "./node/inline.ts";
import { mountsWithin, showsSource } from "./node/mount-state.ts";
import { publish } from "./node/publish.ts";
import { shownVolume } from "./node/shown-volume.ts";
import { stage } from "./node/stage.ts";
import { statsHandler } from "./node/stats.ts";
import { createTargetResolver, removeTarget, type TargetResolver } from "./node/target.ts";
import { volumeOfMountRoot } from "./pool/layout.ts";
import type { FoundVolume } from "./pool/pools.ts";
import { invalid, refusal } from "./refusal.ts";
import { nodeTopology } from "./topology.ts";
import { parseVolumeId, type VolumeId } from "./volume/id.ts";
import type {
  NodePublishVolumeRequest,
  NodeStageVolumeRequest,
  NodeUnpublishVolumeRequest,
  NodeUnstageVolumeRequest,
  WireCapability,
} from "./wire.ts";

/** With what the handlers share. */
type Shared = InlineDeps & {
  readonly targets: TargetResolver;
  readonly inlineVolumes: ReturnType<typeof createInlineVolumes>;
};

const capabilities = [
  ...["STAGE_UNSTAGE_VOLUME", "GET_VOLUME_STATS", "EXPAND_VOLUME", "VOLUME_CONDITION"],
  ...["SINGLE_NODE_MULTI_WRITER", "VOLUME_MOUNT_GROUP"],
];

/** The handlers of the service by method; what is missing here is refused by `driver.ts`. */
export function createNode(deps: InlineDeps) {
  const topology = nodeTopology(deps.nodeId);
  const targets = createTargetResolver(deps.files, deps.kubeletRoot);
  const shared: Shared = { ...deps, targets, inlineVolumes: createInlineVolumes(deps) };
  return {
    handlers: {
      NodeStageVolume: stageHandler(shared),
      NodeUnstageVolume: unstageHandler(shared),
      NodePublishVolume: publishHandler(shared),
      NodeUnpublishVolume: unpublishHandler(shared),
      NodeGetVolumeStats: statsHandler(shared),
      NodeExpandVolume: expandHandler(shared),
      NodeGetCapabilities: async () => ({ capabilities: capabilities.map((type) => ({ rpc: { type } })) }),
      NodeGetInfo: async () => ({ node_id: deps.nodeId, accessible_topology: topology }),
    } satisfies Record<string, Handler<never>>,
    /** Removes inline volumes of pods that are gone. Never throws. */
    sweep: shared.inlineVolumes.sweep,
  };
}

function stageHandler(deps: Shared) {
  return async (request: NodeStageVolumeRequest, call: Call) => {
    const { volume_id, staging_target_path } = request;
    if (volume_id === "") throw invalid("volume_id", "is missing");
    if (staging_target_path === "") throw invalid("staging_target_path", "is missing");
    const capability = parseCapability("volume_capability", required(request.volume_capability));
    const staging = await deps.targets.resolve("staging_target_path", staging_target_path);
    const id = requireId(volume_id, call);
    await deps.lock.run([id, staging.path], async () => {
      const found = await requireVolume(deps, id);
      deps.sources.requireUsable(id);
      call.check();
      const wanted = { volume: shownVolume(found), staging, capability };
      await stage(deps, wanted).catch((error) => detachAfter(error, deps, found));
    });
    return {};
  };
}

function unstageHandler(deps: Shared) {
  return async ({ volume_id, staging_target_path }: NodeUnstageVolumeRequest, call: Call) => {
    if (volume_id === "") throw invalid("volume_id", "is missing");
    if (staging_target_path === "") throw invalid("staging_target_path", "is missing");
    const { path } = await deps.targets.resolve("staging_target_path", staging_target_path);
    const id = parseVolumeId(volume_id);
    if (id) call.about(id);
    await deps.lock.run([volume_id, path], async () => {
      const find = () => findQuietly(deps, id);
      const shown = await hide(deps, {
        volumeId: volume_id,
        ownIds: id ? [id] : [],
        path,
        findShows: () => showsOf(deps, find),
      });
      // A directory needs nothing more, and its pool may be away.
      if (shown.some(({ root }) => volumeOfMountRoot(root) === id)) return;
      const found = await find();
      if (found) return detachUnused(deps, found);
      // With its pool the image is away: what it was shown from would keep that disk busy.
      const [only, ...others] = shown;
      const isDevice = only?.root === "/" && /^\/dev\/loop\d+$/.test(only.source);
      if (only && isDevice && others.length === 0) await deps.loops.detachDevice(only.source);
    });
    // The staging directory is the kubelet's: it made it, and it takes it away.
    return {};
  };
}

function publishHandler(deps: Shared) {
  return async (request: NodePublishVolumeRequest, call: Call) => {
    const { volume_id, target_path, staging_target_path } = request;
    if (volume_id === "") throw invalid("volume_id", "is missing");
    if (target_path === "") throw invalid("target_path", "is missing");
    const capability = parseCapability("volume_capability", required(request.volume_capability));
    const [target, staging] = await Promise.all([
      deps.targets.resolve("target_path", target_path),
      staging_target_path ? deps.targets.resolve("staging_target_path", staging_target_path) : undefined,
    ]);
    const readOnly = request.readonly;
    if (deps.inlineVolumes.isInline(request)) {
      await deps.lock.run([volume_id, target.path], async () => {
        const { found, isNew } = await deps.inlineVolumes.make(request, target, capability, call);
        const wanted = { volume: shownVolume(found), target, staging: undefined, capability, readOnly };
        await publish(deps, wanted).catch(async (error) => {
          // The kubelet unpublishes nothing that was refused: what was made for it would stay.
          if (isNew)
            await removeInline(deps, found, ownCall).catch((also) => withCleanupFailure(error, also));
          throw error;
        });
      });
      return {};
    }
    const id = requireId(volume_id, call);
    await deps.lock.run([id, target.path], async () => {
      const found = await requireVolume(deps, id);
      if (!staging) {
        throw refusal(
          "precondition",
          id,
          "staging_target_path is missing: the volume is published from there",
        );
      }
      deps.sources.requireUsable(id);
      call.check();
      const wanted = { volume: shownVolume(found), target, staging, capability, readOnly };
      await publish(deps, wanted).catch((error) => detachAfter(error, deps, found));
    });
    return {};
  };
}

function unpublishHandler(deps: Shared) {
  return async ({ volume_id, target_path }: NodeUnpublishVolumeRequest, call: Call) => {
    if (volume_id === "") throw invalid("volume_id", "is missing");
    if (target_path === "") throw invalid("target_path", "is missing");
    const { path, hasParent } = await deps.targets.resolve("target_path", target_path);
    const id = parseVolumeId(volume_id);
    if (id) call.about(id);
    // Neither the pool nor the volume need be there: a mount is to go also when its disk has died.
    await deps.lock.run([volume_id, path], async () => {
      const looking = id ? undefined : deps.inlineVolumes.find(volume_id);
      const seen = await looking?.catch(() => undefined);
      const find = async () => seen ?? (await findQuietly(deps, id));
      const ownIds = id ? [id] : deps.inlineVolumes.idsOf(volume_id);
      if (hasParent) {
        await hide(deps, { volumeId: volume_id, ownIds, path, findShows: () => showsOf(deps, find) });
        await removeTarget(deps.files, path);
      }
      const inline = await looking;
      if (inline) await removeInline(deps, inline, call);
      else if (!id) await deps.inlineVolumes.confirmAbsence(volume_id);
    });
    return {};
  };
}

function required(capability: WireCapability | null): WireCapability {
  if (!capability) throw invalid("volume_capability", "is missing");
  return capability;
}

function requireId(volumeId: string, call: Call): VolumeId {
  const id = parseVolumeId(volumeId);
  if (!id) throw unknown(volumeId);
  call.about(id);
  return id;
}

async function requireVolume({ pools }: Shared, id: VolumeId): Promise<FoundVolume> {
  const found = await pools.find(id);
  if (!found) throw unknown(id);
  return found;
}

/** The volume if it can be looked at: what is taken away may be all that is left of it. */
async function findQuietly({ pools }: Shared, id: VolumeId | undefined): Promise<FoundVolume | undefined> {
  return id && pools.find(id).catch(() => undefined);
}

async function showsOf({ mounts }: Shared, find: () => Promise<FoundVolume | undefined>) {
  const found = await find();
  const source = found && (await attachedOf(found));
  return source && showsSource(await mounts.list(), source);
}

function attachedOf({ pool, record }: FoundVolume) {
  return pool
    .backendOf(record)
    .attached(pool.place(record))
    .catch(() => undefined);
}

/** Lets the device of a volume go that nothing shows any more. */
async function detachUnused({ mounts }: Shared, found: FoundVolume): Promise<void> {
  const source = await attachedOf(found);
  if (!source || mountsWithin(await mounts.list(), source).length > 0) return;
  await found.pool.backendOf(found.record).detach(found.pool.place(found.record));
}

/** What was attached for a call that failed goes with it, unless something shows it: nobody unstages what was refused. */
async function detachAfter(error: unknown, deps: Shared, found: FoundVolume): Promise<never> {
  await detachUnused(deps, found).catch((also) => withCleanupFailure(error, also));
  throw error;
}

async function removeInline(deps: Shared, inline: FoundVolume, call: Call): Promise<void> {
  await detachUnused(deps, inline);
  await deps.inlineVolumes.remove(inline, call);
}

function unknown(volumeId: string) {
  return refusal("not-found", volumeId, `there is no volume "${volumeId}" on this node`);
}
