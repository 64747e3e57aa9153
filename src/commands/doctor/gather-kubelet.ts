/** How this node runs its kubelet, and what the kubelet sees. */
import { driverName } from "../../csi/names.ts";
import type { SocketHolder } from "../../host/socket-holders.ts";
import { detectKubelet } from "../../install/kubelet/detect.ts";
import { gatherFacts as gatherKubeletFacts } from "../../install/kubelet/gather.ts";
import type { KubeletFacts } from "./facts.ts";
import { type DoctorDeps, known, textOf } from "./gather.ts";
import { holderOf } from "./gather-sockets.ts";

export async function gatherKubelet(deps: DoctorDeps): Promise<KubeletFacts> {
  const { files, exec, settings } = deps;
  const root = settings.kubeletRoot;
  const listProcesses = async () => [...(await deps.listProcesses())];
  const facts = await known(gatherKubeletFacts({ files, exec, listProcesses }));
  const setup = "value" in facts ? await known(Promise.resolve(facts.value).then(detectKubelet)) : facts;
  return {
    ...{ setup, root, ...(await lookAtRegistration(deps, root)) },
    version: "value" in facts ? facts.value.version : undefined,
    isShared: isShared(await textOf(deps, "/proc/1/mountinfo"), root),
  };
}

/** Our own and the registrar's socket have the same name: who listens tells them apart. */
async function lookAtRegistration({ files, findSocketHolders }: DoctorDeps, root: string) {
  const path = `${root}/plugins_registry/${driverName}-reg.sock`;
  const there = await files.stat(path).catch(() => undefined);
  if (!there) return { registersItself: false, hasRegistrar: false };
  const holder = holderOf(await findSocketHolders().catch(() => new Map<string, SocketHolder>()), path);
  const hasRegistrar = /(^|\/)csi-node-driver-registrar$/.test(holder?.argv[0] ?? "");
  return { registersItself: !hasRegistrar, hasRegistrar };
}

/** Whether the mount that `path` is on passes mounts on (proc(5), "shared:"); undefined where no mount covers it. */
export function isShared(mountInfo: string, path: string): boolean | undefined {
  let found: { readonly point: string; readonly shared: boolean } | undefined;
  for (const line of mountInfo.split("\n")) {
    const [, , , , escaped, ...rest] = line.split(" ");
    if (escaped === undefined) continue;
    const point = escaped.replace(/\\(\d{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    const covers = path === point || path.startsWith(point === "/" ? "/" : `${point}/`);
    const shared = rest.slice(0, rest.indexOf("-")).some((field) => field.startsWith("shared:"));
    // The last of several mounts on one point is the one that is seen.
    if (covers && (!found || point.length >= found.point.length)) found = { point, shared };
  }
  return found?.shared;
}
