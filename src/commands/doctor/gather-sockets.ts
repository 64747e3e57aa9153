/** Trivet's own sockets: whether they answer, whose they are, and who listens. */
import { basename, dirname } from "node:path";
import type { SocketHolder } from "../../host/socket-holders.ts";
import type { SocketFacts } from "./facts.ts";
import type { DoctorDeps } from "./gather.ts";

export async function gatherSockets(deps: DoctorDeps): Promise<SocketFacts[]> {
  const { proxySocket, cniSocket, storageSocket, csiSocket } = deps.settings;
  const all: readonly (readonly [string, string])[] = [
    [proxySocket, "the CRI proxy"],
    [cniSocket, "the CNI agent"],
    [csiSocket, "the CSI driver"],
    [storageSocket, "trivet storage"],
  ];
  const holders = await deps.holders();
  return Promise.all(all.map(([path, serves]) => lookAtSocket(deps, { path, serves, holders })));
}

interface Looked {
  readonly path: string;
  readonly serves: string;
  readonly holders: ReadonlyMap<string, SocketHolder>;
}

async function lookAtSocket(
  { files, reach, isLiveSocket }: DoctorDeps,
  { path, serves, holders }: Looked,
): Promise<SocketFacts> {
  const stat = await files.stat(path).catch(() => undefined);
  if (!stat) return { path, serves, state: "absent" };
  // A socket is "other" to whoever knows files, directories and links only.
  if (stat.kind !== "other") return { path, serves, state: "no socket" };
  const answers = await isLiveSocket(reach(path));
  const directory = await files.realPath(dirname(path)).then(files.stat, () => undefined);
  const holder = holderOf(holders, path);
  return {
    ...{ path, serves, state: answers ? "answers" : "stale", mode: stat.mode, uid: stat.uid },
    ...(directory && isOpen(directory.mode) ? { openDirectory: directory.mode } : {}),
    ...(holder && { holder: `process ${holder.pid} (${programOf(holder)})` }),
  };
}

const OTHERS_WRITE = 0o022;
const STICKY = 0o1000;

/** Whoever may rename what is in it can put another socket in the place of ours. */
function isOpen(mode: number): boolean {
  return (mode & OTHERS_WRITE) !== 0 && (mode & STICKY) === 0;
}

/** The kernel knows the name that was bound: ours are bound beside their public name, and then given it. */
export function holderOf(holders: ReadonlyMap<string, SocketHolder>, path: string): SocketHolder | undefined {
  const exact = holders.get(path);
  if (exact) return exact;
  const [directory, name] = [dirname(path), basename(path)];
  for (const [bound, holder] of holders) {
    // `.PID.NAME`, cut where that is too long for a socket.
    const [, start] = /^\.\d+\.(.+)$/.exec(basename(bound)) ?? [];
    if (dirname(bound) === directory && start !== undefined && name.startsWith(start)) return holder;
  }
  return undefined;
}

/** The verb of ours, or the name of another program. */
function programOf({ argv }: SocketHolder): string {
  const verb = argv.find((word) => /^(node|cri)$/.test(word));
  if (argv.some((word) => /(^|\/)(main\.(ts|js)|trivet)$/.test(word)) && verb) return `trivet ${verb}`;
  return basename(argv[0] ?? "unknown");
}
