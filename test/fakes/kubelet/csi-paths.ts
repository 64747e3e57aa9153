/** Where the kubelet puts volumes below its root directory. Pure. */
import { createHash } from "node:crypto";
import { join } from "node:path";

export interface VolumePaths {
  /** Of a volume, one per node: made by the kubelet before NodeStageVolume. */
  staging(driver: string, volumeId: string): string;
  /** Of a volume in a pod; its parent is made by the kubelet, itself by the driver. */
  target(podUid: string, volumeName: string): string;
  /** The link of a raw block volume in a pod. */
  blockTarget(podUid: string, volumeName: string): string;
  /** Where drivers put their registration sockets. */
  readonly pluginsRegistry: string;
  /** The CSI socket of `driver`. */
  socket(driver: string): string;
}

export function volumePaths(kubeletRoot: string): VolumePaths {
  const hash = (text: string) => createHash("sha256").update(text).digest("hex");
  return {
    staging: (driver, volumeId) =>
      join(kubeletRoot, "plugins", "kubernetes.io", "csi", driver, hash(volumeId), "globalmount"),
    target: (podUid, volumeName) =>
      join(kubeletRoot, "pods", podUid, "volumes", "kubernetes.io~csi", volumeName, "mount"),
    blockTarget: (podUid, volumeName) =>
      join(kubeletRoot, "pods", podUid, "volumeDevices", "kubernetes.io~csi", volumeName),
    pluginsRegistry: join(kubeletRoot, "plugins_registry"),
    socket: (driver) => join(kubeletRoot, "plugins", driver, "csi.sock"),
  };
}
