/**
 * Inline volumes of pods (CSI ephemeral volumes): made when they are published, gone when they are unpublished. Whoever may
 * make a pod chooses their attributes, so that only harmless ones are understood, the size must be given and is bounded,
 * and all of it is off unless the configuration allows it. A volume is known as inline by its record, never by its id.
 */
import { dirname, join } from "node:path";
import { isKind } from "../../errors.ts";
import type { Loops } from "../../host/loop.ts";
import type { Mounts } from "../../host/mount.ts";
import { type Call, ownCall } from "../call.ts";
import type { Capability } from "../capability.ts";
import { removeVolume } from "../controller/delete-volume.ts";
import { type ControllerDeps, findByName, makeVolume } from "../controller/new-volume.ts";
import { parameterRows, parseParameters, SIDECAR_PREFIX } from "../parameters.ts";
import type { FoundVolume } from "../pool/pools.ts";
import { parseQuantity } from "../pool/quantity.ts";
import { invalid, refusal } from "../refusal.ts";
import type { Sources } from "../snapshot/sources.ts";
import { confirmAbsence } from "../volume/delete.ts";
import { volumeIdFor } from "../volume/id.ts";
import type { VolumeRecord } from "../volume/record.ts";
import type { NodePublishVolumeRequest } from "../wire.ts";
import type { Target } from "./target.ts";

/** What inline volumes may be. */
export interface InlineSettings {
  readonly maxBytes: number;
}

/** `inline` is undefined where the configuration does not allow them. */
export interface InlineDeps extends ControllerDeps {
  readonly mounts: Mounts;
  readonly loops: Pick<Loops, "detachDevice">;
  readonly inline: InlineSettings | undefined;
  /** The only place where staging paths and targets may lie. */
  readonly kubeletRoot: string;
  /** What is being copied at the moment. */
  readonly sources: Sources;
  randomUuid(): string;
}

/** Set by the kubelet on inline volumes; the kubelet's other keys describe the pod. */
const EPHEMERAL_KEY = `${SIDECAR_PREFIX}ephemeral`;

const attributes = {
  field: "volume_context",
  allowed: ["size", ...parameterRows.filter(({ inline }) => inline).map(({ key }) => key)],
  ignored: (key: string) => key.startsWith(SIDECAR_PREFIX),
  isPrivate: true,
};

/** Apart from every name that CreateVolume could be asked for: those hold no control character. */
const nameOf = (volumeId: string) => `inline\n${volumeId}`;

/** Whoever publishes or unpublishes holds the lock of the id that the kubelet gave. */
export function createInlineVolumes(deps: InlineDeps) {
  const find = (volumeId: string) => findByName(deps, nameOf(volumeId));
  return {
    isInline: ({ volume_context }: NodePublishVolumeRequest) => volume_context[EPHEMERAL_KEY] === "true",
    /** Undefined where there is none, or where its pool is away: it is then swept when that is back. */
    find: async (volumeId: string): Promise<FoundVolume | undefined> => {
      const found = await find(volumeId).catch((error) => {
        if (!isKind(error, "unavailable")) throw error;
      });
      return found?.record.ephemeral?.volumeId === volumeId ? found : undefined;
    },
    /** The ids that it can have, whether its pool is there or not. */
    idsOf: (volumeId: string): readonly string[] =>
      deps.pools.all.map(({ config }) =>
        volumeIdFor({ nodeId: deps.nodeId, pool: config.name, name: nameOf(volumeId) }),
      ),
    /** The volume, and whether it was made now. */
    async make(request: NodePublishVolumeRequest, target: Target, capability: Capability, call: Call) {
      const { volume_id } = request;
      const sizeBytes = parseSize(deps, request);
      const { size: _, ...rest } = request.volume_context;
      const parameters = parseParameters(rest, attributes);
      const { access } = capability;
      const fsType = capability.fsType ?? parameters.fsType;
      const range = { requiredBytes: sizeBytes, limitBytes: 0 };
      const extra = { ephemeral: { volumeId: volume_id, target: target.path } };
      const wanted = { name: nameOf(volume_id), range, parameters, access, fsType, extra };
      const isNew = (await find(volume_id)) === undefined;
      await makeVolume(deps, wanted, call);
      const found = await find(volume_id);
      if (found) return { found, isNew };
      throw refusal("io", volume_id, `the inline volume ${volume_id} was made and is not there`);
    },
    async remove(found: FoundVolume, call: Call): Promise<void> {
      await deps.lock.run([found.record.id], () => removeVolume(deps, found, call));
    },
    /** For one that is not there: an earlier attempt may have failed before its removal was durable. */
    async confirmAbsence(volumeId: string): Promise<void> {
      for (const { config, use } of deps.pools.all) {
        const pool = await use().catch(() => undefined); // one that is away is swept when it comes back
        const origin = { nodeId: deps.nodeId, pool: config.name, name: nameOf(volumeId) };
        if (pool) await confirmAbsence(deps.files, pool, volumeIdFor(origin));
      }
    },
    sweep: (records: readonly VolumeRecord[]) => sweep(deps, records, find),
  };
}

function parseSize(
  { inline }: InlineDeps,
  { volume_context, volume_capability }: NodePublishVolumeRequest,
): number {
  if (!inline) {
    throw invalid(
      `volume_context.${EPHEMERAL_KEY}`,
      'is "true", but this node allows no inline volumes: see csi.inline',
    );
  }
  if (volume_capability?.block) throw invalid("volume_capability.block", "is not offered for inline volumes");
  const text = volume_context.size;
  if (text === undefined) throw invalid("volume_context.size", "is missing: give a size such as 1Gi");
  const sizeBytes = parseQuantity("volume_context.size", text);
  if (sizeBytes <= inline.maxBytes) return sizeBytes;
  throw invalid("volume_context.size", `is "${text}": an inline volume has at most ${inline.maxBytes} bytes`);
}

/**
 * Removes those whose pod is gone without an unpublish that could have done it, such as while their pool was away: the
 * kubelet's directory of the volume is not there any more. After a mere reboot it is, and the volume stays; so it does while
 * the directory of all pods is away, which may be a disk of its own.
 */
async function sweep(
  deps: InlineDeps,
  records: readonly VolumeRecord[],
  find: (volumeId: string) => Promise<FoundVolume | undefined>,
): Promise<void> {
  for (const { id, ephemeral } of records) {
    if (!ephemeral) continue;
    try {
      if (!(await isGone(deps, dirname(ephemeral.target)))) continue;
      if (await isGone(deps, join(deps.kubeletRoot, "pods"))) continue;
      await deps.lock.run([ephemeral.volumeId, id], async () => {
        const found = await find(ephemeral.volumeId);
        if (found) await removeVolume(deps, found, ownCall);
      });
      deps.log.info("inline volume removed: its pod is gone", { volumeId: id, target: ephemeral.target });
    } catch (error) {
      deps.log.warn("inline volume not removed", { volumeId: id, error: (error as Error).message });
    }
  }
}

async function isGone({ files }: InlineDeps, path: string): Promise<boolean> {
  try {
    await files.stat(path);
    return false;
  } catch (error) {
    if (isKind(error, "not-found")) return true;
    throw error;
  }
}
