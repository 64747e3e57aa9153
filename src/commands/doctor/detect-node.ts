/** Where this node has its kubelet and its runtime, as the processes that run tell it. Finds nothing rather than failing. */
import { createFiles } from "../../host/files.ts";
import { listProcessesBeside } from "../../host/processes.ts";
import { createSyscalls } from "../../host/syscall.ts";
import { kindOfProcess } from "../../install/kubelet/detect.ts";
import { flagOf } from "../../install/kubelet/words.ts";
import { rootedFiles } from "../../install/rooted-files.ts";
import type { DetectedNode } from "../doctor.ts";
import { findHost } from "./deps.ts";

/** Both are asked for by this path where the kubelet says nothing. */
const PROXY = "/run/trivet/cri.sock";

/** `root` as the user gave it: of another machine's files nothing runs here. */
export async function detectNode(root: string | undefined): Promise<DetectedNode> {
  const host = await findHost(root);
  if (host.pid === undefined) return {};
  const processes = await listProcessesBeside(host.pid).catch(() => []);
  const kinds = new Map(processes.map(({ argv }) => [kindOfProcess(argv), argv] as const));
  const distribution = (["k0s", "rke2", "k3s", "microk8s"] as const).find((kind) => kinds.has(kind));
  const kubelet = kinds.get("kubelet");
  if (!kubelet) return { distribution };
  const endpoint = flagOf(kubelet, "container-runtime-endpoint")?.replace(/^unix:\/\//, "");
  const files = rootedFiles(createFiles(createSyscalls()), host.root);
  const criSocket = endpoint && (await files.realPath(endpoint).catch(() => endpoint));
  return {
    distribution,
    kubeletRoot: flagOf(kubelet, "root-dir"),
    criSocket: criSocket === PROXY ? undefined : criSocket,
  };
}
