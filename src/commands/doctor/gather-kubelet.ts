/** How this node runs its kubelet, and what the kubelet sees. */
import { basename } from "node:path";
import { driverName } from "../../csi/names.ts";
import { parseMountInfo } from "../../host/mount.ts";
import type { SocketHolder } from "../../host/socket-holders.ts";
import { detectKubelet, findKubelet } from "../../install/kubelet/detect.ts";
import { gatherFacts as gatherKubeletFacts } from "../../install/kubelet/gather.ts";
import { flagOf } from "../../install/kubelet/words.ts";
import type { KubeletFacts } from "./facts.ts";
import { type DoctorDeps, known, textOf } from "./gather.ts";
import { holderOf } from "./gather-sockets.ts";

export async function gatherKubelet(deps: DoctorDeps): Promise<KubeletFacts> {
  const { files, exec, settings } = deps;
  const root = settings.kubeletRoot;
  const listProcesses = async () => [...(await deps.listProcesses())];
  const facts = await known(gatherKubeletFacts({ files, exec, listProcesses }));
  const setup = "value" in facts ? await known(Promise.resolve(facts.value).then(detectKubelet)) : facts;
  const kubelet = "value" in facts ? kubeletOf(() => findKubelet(facts.value.processes).process) : undefined;
  // The kubelet's own table: it may run in a mount namespace of its own.
  const table = kubelet ? await textOf(deps, `/proc/${kubelet.pid}/mountinfo`) : await deps.mountTable();
  const endpoint = "value" in setup ? setup.value.runtime.path : undefined;
  const daemon = holderOf(await deps.holders(), settings.csiSocket);
  return {
    ...{ setup, root, ...(await lookAtRegistration(deps, root)) },
    version: "value" in facts ? facts.value.version : undefined,
    ...{
      isShared: isShared(table, root),
      daemonShares: await reaches(deps, { table, root, daemon, kubelet }),
    },
    ownRoot: kubelet && flagOf(kubelet.argv, "root-dir"),
    daemonRoot: daemon && flagOf(daemon.argv, "kubelet-root"),
    endpoint: endpoint && (await files.realPath(endpoint).catch(() => endpoint)),
  };
}

function kubeletOf<T>(find: () => T): T | undefined {
  try {
    return find();
  } catch {
    return undefined; // why there is none is told by `setup`
  }
}

/** Our own and the registrar's socket have the same name: who listens tells them apart. */
async function lookAtRegistration(deps: DoctorDeps, root: string) {
  const path = `${root}/plugins_registry/${driverName}-reg.sock`;
  const there = await deps.files.stat(path).catch(() => undefined);
  if (!there || !(await deps.isLiveSocket(deps.reach(path)))) {
    return { registersItself: false, hasRegistrar: false };
  }
  const holders = await deps.holders();
  // A sidecar has bound it by the name that it has in its container.
  const byName = [...holders].find(([bound]) => basename(bound) === basename(path))?.[1];
  const holder = holderOf(holders, path) ?? byName;
  const hasRegistrar = /(^|\/)csi-node-driver-registrar$/.test(holder?.argv[0] ?? "");
  return { registersItself: !hasRegistrar, hasRegistrar };
}

interface Reaching {
  /** The kubelet's mount table. */
  readonly table: string;
  readonly root: string;
  readonly daemon: SocketHolder | undefined;
  readonly kubelet: { readonly pid: number } | undefined;
}

/** Of a daemon in a mount namespace of its own: whether what it mounts below the kubelet's directory appears in the kubelet's. */
async function reaches(
  deps: DoctorDeps,
  { table, root, daemon, kubelet }: Reaching,
): Promise<KubeletFacts["daemonShares"]> {
  if (!daemon) return undefined;
  const own = await textOf(deps, `/proc/${daemon.pid}/mountinfo`);
  if (own === "") return undefined;
  // Not by what the tables say: they were read one after the other, and others mount meanwhile.
  const spaceOf = (pid: number | string) => deps.files.readLink(`/proc/${pid}/ns/mnt`).catch(() => "");
  const [space, theirs] = await Promise.all([
    spaceOf(daemon.pid),
    spaceOf(kubelet?.pid ?? deps.hostPid ?? "self"),
  ]);
  if (space !== "" && space === theirs) return "same mounts";
  const [there, here] = [peerGroup(table, root), peerGroup(own, root)];
  return there !== undefined && there === here;
}

/** Whether the mount that `path` is on passes mounts on (proc(5), "shared:"); undefined where no mount covers it. */
export function isShared(mountInfo: string, path: string): boolean | undefined {
  return lineOf(mountInfo, path) === undefined ? undefined : peerGroup(mountInfo, path) !== undefined;
}

/** Mounts of one peer group pass on to each other what is mounted in them. */
function peerGroup(mountInfo: string, path: string): string | undefined {
  return /^(?:\S+ ){6}(?:(?!- )\S+ )*?shared:(\d+) /.exec(lineOf(mountInfo, path) ?? "")?.[1];
}

/** Of the mount that shows the path: the last of several on one point is the one that is seen. */
function lineOf(mountInfo: string, path: string): string | undefined {
  let found: { readonly point: string; readonly line: string } | undefined;
  for (const line of mountInfo.split("\n")) {
    const [mount] = parseMountInfo(line);
    if (!mount) continue;
    const { mountPoint: point } = mount;
    const covers = path === point || path.startsWith(point === "/" ? "/" : `${point}/`);
    if (covers && (!found || point.length >= found.point.length)) found = { point, line };
  }
  return found?.line;
}
