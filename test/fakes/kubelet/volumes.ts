/**
 * Volumes as the kubelet mounts and unmounts them, and as external-provisioner creates and deletes them. Like the
 * kubelet it removes directories only while they are empty, never a tree: what a driver leaves mounted stays seen.
 */
import { mkdir, rm, rmdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { CsiClient, CsiVolume } from "./csi-client.ts";
import { volumePaths } from "./csi-paths.ts";

const POD_DIRECTORY_MODE = 0o750;

export interface CreateVolumeOptions {
  /** The volume's name, `pvc-` and a claim's uid in a cluster. */
  readonly name: string;
  readonly sizeBytes: number;
  readonly parameters?: Readonly<Record<string, string>>;
  /** The topology of the node that the scheduler chose. */
  readonly segments?: Readonly<Record<string, string>>;
  readonly block?: boolean;
}

export type VolumeKind = "mount" | "block";

/** A capability as the kubelet makes it for a ReadWriteOnce claim. */
export function volumeCapability(kind: VolumeKind, accessMode = "SINGLE_NODE_WRITER"): object {
  const access_mode = { mode: accessMode };
  return kind === "block"
    ? { block: {}, access_mode }
    : { mount: { fs_type: "", mount_flags: [] }, access_mode };
}

/** CreateVolume as external-provisioner sends it for a class with WaitForFirstConsumer. */
export async function createVolume(csi: CsiClient, options: CreateVolumeOptions): Promise<CsiVolume> {
  const { name, sizeBytes, parameters = {}, segments, block = false } = options;
  const { volume } = await csi.call("CreateVolume", {
    name,
    capacity_range: { required_bytes: String(sizeBytes) },
    volume_capabilities: [volumeCapability(block ? "block" : "mount")],
    parameters,
    ...(segments && {
      accessibility_requirements: { requisite: [{ segments }], preferred: [{ segments }] },
    }),
  });
  if (!volume) throw new Error("CreateVolume answered no volume");
  return volume;
}

export async function deleteVolume(csi: CsiClient, volumeId: string): Promise<void> {
  await csi.call("DeleteVolume", { volume_id: volumeId });
}

export interface MountVolumeOptions {
  readonly csi: CsiClient;
  readonly kubeletRoot: string;
  readonly driver: string;
  readonly podUid: string;
  /** The PersistentVolume's name, which the target path holds. */
  readonly name: string;
  readonly volumeId: string;
  readonly volumeContext?: Readonly<Record<string, string>>;
  readonly readonly?: boolean;
  /** NodeStageVolume first; default: if the driver says that it can. */
  readonly stage?: boolean;
}

export interface MountedVolume extends MountVolumeOptions {
  readonly targetPath: string;
  /** Undefined where the driver does not stage. */
  readonly stagingPath: string | undefined;
}

/** Runs one call of a volume's way, and may time it. */
export type RunStep = (step: string, work: () => Promise<unknown>) => Promise<unknown>;

const justRun: RunStep = (_, work) => work();

/** Stages (if the driver does that) and publishes; gives where the volume is. */
export async function mountVolume(options: MountVolumeOptions, run = justRun): Promise<MountedVolume> {
  const { csi, kubeletRoot, driver, podUid, name, volumeId, volumeContext = {} } = options;
  const paths = volumePaths(kubeletRoot);
  const targetPath = paths.target(podUid, name);
  const request = {
    volume_id: volumeId,
    volume_capability: volumeCapability("mount"),
    volume_context: volumeContext,
  };
  let stagingPath: string | undefined;
  if (options.stage ?? (await canStage(csi))) {
    stagingPath = paths.staging(driver, volumeId);
    await mkdir(stagingPath, { recursive: true, mode: POD_DIRECTORY_MODE });
    const stage = { ...request, staging_target_path: stagingPath };
    await run("NodeStageVolume", () => csi.call("NodeStageVolume", stage));
  }
  const parent = dirname(targetPath);
  await mkdir(parent, { recursive: true, mode: POD_DIRECTORY_MODE });
  await writeFile(
    join(parent, "vol_data.json"),
    JSON.stringify({ driverName: driver, volumeHandle: volumeId }),
  );
  const publish = {
    ...request,
    target_path: targetPath,
    readonly: options.readonly ?? false,
    ...(stagingPath !== undefined && { staging_target_path: stagingPath }),
  };
  await run("NodePublishVolume", () => csi.call("NodePublishVolume", publish));
  return { ...options, targetPath, stagingPath };
}

async function canStage(csi: CsiClient): Promise<boolean> {
  const { capabilities } = await csi.call("NodeGetCapabilities");
  return capabilities.some(({ rpc }) => rpc?.type === "STAGE_UNSTAGE_VOLUME");
}

/** Unpublishes and unstages; then removes the pod's directories, each of which must be empty by now. */
export async function unmountVolume(volume: MountedVolume, run = justRun): Promise<void> {
  const { csi, volumeId, targetPath, stagingPath, kubeletRoot, podUid } = volume;
  const published = { volume_id: volumeId, target_path: targetPath };
  await run("NodeUnpublishVolume", () => csi.call("NodeUnpublishVolume", published));
  const parent = dirname(targetPath);
  await removeEmpty(targetPath);
  await rm(join(parent, "vol_data.json"), { force: true });
  await removeEmpty(parent);
  if (stagingPath !== undefined) {
    const staged = { volume_id: volumeId, staging_target_path: stagingPath };
    await run("NodeUnstageVolume", () => csi.call("NodeUnstageVolume", staged));
    await removeEmpty(stagingPath);
    await removeEmpty(dirname(stagingPath));
  }
  // The pod's own directories, as far as this was its last volume.
  const podDirectory = join(kubeletRoot, "pods", podUid);
  for (const path of [dirname(parent), join(podDirectory, "volumes"), podDirectory]) {
    await rmdir(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOTEMPTY" && error.code !== "ENOENT") throw error;
    });
  }
}

/** rmdir of something that may be gone already; anything left in it is an error. */
async function removeEmpty(path: string): Promise<void> {
  await rmdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
}
