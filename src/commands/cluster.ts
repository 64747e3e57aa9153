/** Which API server `trivet node` asks: that of a kubeconfig, that of the pod it runs in, or none. */
import type { NodeConfig } from "../config/node.ts";
import type { Files } from "../host/files.ts";
import { type ClusterAccess, inClusterAccess, isInCluster } from "../kube/access.ts";
import { kubeconfigAccess } from "../kube/kubeconfig.ts";

/** Undefined where there is none. Throws kind `invalid` for a kubeconfig that cannot be used. */
export async function findCluster(
  { kubernetes, kubeconfig }: Pick<NodeConfig, "kubernetes" | "kubeconfig">,
  files: Pick<Files, "read">,
): Promise<ClusterAccess | undefined> {
  if (!kubernetes) return undefined;
  if (kubeconfig !== undefined) return kubeconfigAccess(files, kubeconfig);
  return isInCluster(process.env) ? inClusterAccess(files, process.env) : undefined;
}
