/**
 * Directories that bear our name, and were made while Trivet ran: by systemd for the logs, by the driver and by the kubelet for sockets and
 * volumes. They go with it if nothing is in them.
 */
import { driverName } from "../../csi/names.ts";
import type { Files } from "../../host/files.ts";
import { isGone } from "../../install/directories.ts";
import { ifThere } from "../../install/state.ts";

/** The usual kubelet's, and those of k0s and MicroK8s. */
const kubeletRoots = [
  "/var/lib/kubelet",
  "/var/lib/k0s/kubelet",
  "/var/snap/microk8s/common/var/lib/kubelet",
];

const ownDirectories = [
  "/var/log/trivet",
  ...kubeletRoots.flatMap((root) => [
    `${root}/plugins/${driverName}`,
    // The kubelet's, for what it stages; it leaves them to nobody.
    `${root}/plugins/kubernetes.io/csi/${driverName}`,
  ]),
];

/** What became of each that was there. */
export async function removeOwnDirectories(
  files: Files,
  dryRun: boolean,
): Promise<readonly { readonly path: string; readonly outcome: string }[]> {
  const rows: { path: string; outcome: string }[] = [];
  for (const path of ownDirectories) {
    const listed = await ifThere(files.list(path));
    if (!listed) continue;
    if (listed.length > 0) rows.push({ path, outcome: "kept: something is in it, which is yours to remove" });
    else if (dryRun) rows.push({ path, outcome: "would be removed" });
    else if (await isGone(files, path)) rows.push({ path, outcome: "removed" });
  }
  return rows;
}
