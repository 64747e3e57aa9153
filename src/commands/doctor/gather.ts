/** Takes the snapshot of a node that doctor judges. Changes nothing; what cannot be read becomes a reason. */
import type { AskCri } from "../../host/cri-identity.ts";
import type { Exec } from "../../host/exec.ts";
import type { Files } from "../../host/files.ts";
import type { HostProcess } from "../../host/processes.ts";
import type { SocketHolder } from "../../host/socket-holders.ts";
import type { Known, NodeFacts, QuotaState } from "./facts.ts";
import { gatherDaemon, gatherProxy } from "./gather-daemon.ts";
import { gatherInstall } from "./gather-install.ts";
import { gatherKernel } from "./gather-kernel.ts";
import { gatherKubelet } from "./gather-kubelet.ts";
import { gatherNetwork } from "./gather-network.ts";
import { gatherRuntime } from "./gather-runtime.ts";
import { gatherSockets } from "./gather-sockets.ts";
import { gatherStorage } from "./gather-storage.ts";

/** Where things are on this node. Paths as the host has them. */
export interface DoctorSettings {
  readonly kubeletRoot: string;
  readonly criSocket: string;
  readonly proxySocket: string;
  readonly storageSocket: string;
  readonly cniSocket: string;
  readonly csiSocket: string;
  readonly confDir: string;
  readonly binDir: string;
  readonly stateDir: string;
  readonly healthUrl: string;
  readonly proxyMetricsUrl: string;
}

export interface DoctorDeps {
  readonly settings: DoctorSettings;
  /** Which settings were asked for: what the node itself says does not go over them. */
  readonly given: Readonly<Partial<Record<keyof DoctorSettings, boolean>>>;
  /** The host's files; this process's own where it runs on the host. */
  readonly files: Files;
  /** The path at which this process finds what the host has at `path`. */
  readonly reach: (path: string) => string;
  readonly exec: Exec;
  readonly askCri: AskCri;
  readonly askAdmin: (path: string, question: string, argument?: object) => Promise<unknown>;
  readonly listProcesses: () => Promise<readonly HostProcess[]>;
  /** An HTTP GET. */
  readonly get: (url: string) => Promise<{ readonly status: number; readonly body: string }>;
  /** The configuration file of `trivet node`, where one is found. */
  readonly readConfig: () => Promise<string | undefined>;
  /** Of the file system that a path of the host lies on; `type` is what statfs(2) says. */
  readonly quotaOf: (path: string, type: number) => Promise<QuotaState>;
  /** A process that sees the host's mounts, as /proc names it; undefined where there is none. */
  readonly hostPid: string | undefined;
  /** The mount table of the host, as /proc has it; empty where there is none. */
  readonly mountTable: () => Promise<string>;
  /** False where the files are those of another machine. */
  readonly isThisNode: boolean;
  /** Runs the CNI plugin's own STATUS for a configuration; gives the message of its error, if it answers with one. */
  readonly pluginStatus: (config: string) => Promise<string | undefined>;
  readonly isLiveSocket: (path: string) => Promise<boolean>;
  /** Who listens on which socket; looked up once. */
  readonly holders: () => Promise<ReadonlyMap<string, SocketHolder>>;
  /** Whether a program of that name would be found by the process `pid`; by this one without it. */
  readonly hasProgram: (name: string, pid?: number) => Promise<boolean>;
  readonly version: string;
}

/** Everything, one part beside the other. */
export async function gatherFacts(deps: DoctorDeps): Promise<NodeFacts> {
  const runtime = gatherRuntime(deps);
  const [kernel, daemon, proxy, storage, network, kubelet, sockets, install] = await Promise.all([
    gatherKernel(deps),
    gatherDaemon(deps),
    gatherProxy(deps),
    gatherStorage(deps),
    runtime.then((facts) => gatherNetwork(deps, facts)),
    gatherKubelet(deps),
    gatherSockets(deps),
    gatherInstall(deps),
  ]);
  return { kernel, daemon, proxy, storage, network, runtime: await runtime, kubelet, sockets, install };
}

/** The value, or why there is none. */
export async function known<T>(work: Promise<T>): Promise<Known<T>> {
  try {
    return { value: await work };
  } catch (error) {
    return { unknown: error instanceof Error ? error.message : String(error) };
  }
}

/** The text of a file; empty where it cannot be read. */
export async function textOf({ files }: Pick<DoctorDeps, "files">, path: string): Promise<string> {
  return files.read(path).then(
    (bytes) => bytes.toString("utf8"),
    () => "",
  );
}
