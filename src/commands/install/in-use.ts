/** Who on this node still needs Trivet: what would break if it were taken away now. Looks only. */
import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { defaultSocket, defaultStateDir } from "../../cni/protocol/defaults.ts";
import { listAttachments } from "../../cni/state/list-attachments.ts";
import { driverName } from "../../csi/names.ts";
import { parseMountInfo } from "../../host/mount.ts";
import { createCniDeps } from "../host.ts";

/** One line each, for people; all empty where nobody does. */
export interface Users {
  readonly volumes: readonly string[];
  readonly pods: readonly string[];
  readonly processes: readonly string[];
}

export async function findUsers(): Promise<Users> {
  const [volumes, pods, serves] = await Promise.all([
    publishedVolumes(),
    attachedPods(),
    answers(defaultSocket),
  ]);
  const processes = serves ? [`trivet node, which serves ${defaultSocket}`] : [];
  return { volumes, pods, processes };
}

/** Where the kubelet had volumes of ours mounted: it notes the driver beside each (pkg/volume/csi). */
async function publishedVolumes(): Promise<string[]> {
  const mounts = parseMountInfo(await readFile("/proc/self/mountinfo", "utf8"));
  const found: string[] = [];
  for (const { mountPoint: target } of mounts) {
    const record = recordBeside(target);
    const text = record && (await readFile(record, "utf8").catch(() => undefined));
    if (text && driverOf(text) === driverName) found.push(target);
  }
  return [...new Set(found)];
}

/** Where the kubelet notes what a mount is: beside that of a file system, and apart for a raw block volume. */
export function recordBeside(target: string): string | undefined {
  if (/\/volumes\/kubernetes\.io~csi\/[^/]+\/mount$/.test(target))
    return join(dirname(target), "vol_data.json");
  const [, root, name] =
    /^(.*\/kubernetes\.io\/csi\/volumeDevices)\/publish\/([^/]+)\//.exec(`${target}/`) ?? [];
  return root && name ? join(root, name, "data/vol_data.json") : undefined;
}

function driverOf(text: string): unknown {
  try {
    return (JSON.parse(text) as { driverName?: unknown }).driverName;
  } catch {
    return undefined;
  }
}

async function attachedPods(): Promise<string[]> {
  const records = await listAttachments(await createCniDeps(), defaultStateDir);
  return records.map(({ pod, containerId }) => (pod.name ? `${pod.namespace}/${pod.name}` : containerId));
}

const CONNECT_MS = 2_000;

/** Whether anybody accepts at a socket. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (found: boolean) => {
      socket.destroy();
      resolve(found);
    };
    socket.setTimeout(CONNECT_MS, () => end(false));
    socket.once("connect", () => end(true));
    socket.once("error", () => end(false));
  });
}
