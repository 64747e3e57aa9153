/**
 * What doctor knows of a node: a snapshot that is gathered once (gather-*.ts), and that the checks judge (check-*.ts) without looking
 * at anything else. What could not be read is a reason in place of a value.
 */
import type { PoolStatus } from "../../csi/pool/pool.ts";
import type { FileSystemSpace } from "../../host/files.ts";
import type { MountInfo } from "../../host/mount.ts";
import type { KubeletVersion } from "../../install/kubelet/facts.ts";
import type { KubeletSetup } from "../../install/kubelet/setup.ts";

/** A value, or why there is none. */
export type Known<T> = { readonly value: T } | { readonly unknown: string };

export interface KernelFacts {
  /** Such as `6.1.0-18-amd64`. */
  readonly release: string;
  /** Of those that were asked for: what the kernel has or can load, what it lacks, and what could not be told. */
  readonly features: Readonly<Record<string, "there" | "missing" | "unknown">>;
  /** Such as `ext4`: those that can be mounted without loading a module. */
  readonly fileSystems: readonly string[];
}

/** Whether the limits of a file system hold: `counted` where it counts and lets everybody write on. */
export type QuotaState = "enforced" | "counted" | "off";

/** What lies under a pool, as the host sees it. */
export interface DiskFacts {
  /** Undefined where the path cannot be reached. */
  readonly space?: FileSystemSpace | undefined;
  /** Of the host's mount table. */
  readonly mount?: MountInfo | undefined;
  readonly quotas: Known<QuotaState>;
  /** Whether /etc/fstab knows the pool's path. */
  readonly isInFstab: boolean;
}

/** A pool as the daemon has it, with the disk below it. */
export interface PoolFacts {
  readonly status: PoolStatus;
  readonly disk: DiskFacts;
}

/** A pool as it is configured, for when there is no daemon to ask. */
export interface ConfiguredPool {
  readonly name: string;
  readonly path: string;
  readonly backend: string;
  readonly disk: DiskFacts;
}

export interface StorageFacts {
  readonly pools: Known<readonly PoolFacts[]>;
  /** Looked up only where `pools` is unknown. */
  readonly configured: readonly ConfiguredPool[];
  /** Volumes whose condition is abnormal, as `id: why`. */
  readonly abnormal: Known<readonly string[]>;
  /** How many of each kind. */
  readonly orphans: Known<Readonly<Record<string, number>>>;
  /** Programs that image pools run and this process does not find. */
  readonly missingPrograms: readonly string[];
}

/** What `trivet node` says of itself over HTTP. */
export interface DaemonFacts {
  readonly healthUrl: string;
  /** Undefined when it is ready, or why it is not. */
  readonly notReady: Known<string | undefined>;
  readonly version?: string | undefined;
  /** Whether it serves volumes, and the network; undefined where it does not answer. */
  readonly servesVolumes?: boolean | undefined;
  readonly servesNetwork?: boolean | undefined;
  /** Whether the kubelet has taken the driver; undefined where that is not its business. */
  readonly isRegistered?: boolean | undefined;
  /** What its metric `trivet_degraded` shows. */
  readonly degraded: readonly { readonly what: string; readonly subject: string }[];
  /** How many looks for leftovers of dead pods have failed. */
  readonly sweepFailures: number;
}

/** What `trivet cri` says of itself, where its metrics are served. */
export interface ProxyFacts {
  readonly recordsLost: number;
  readonly failedReloads: number;
  /** Methods that the kubelet calls and the runtime does not know. */
  readonly unimplemented: readonly string[];
  /** Methods, and fields of messages, that this release of ours does not know. */
  readonly unknownToUs: readonly string[];
}

/** What the container runtime says of the networks that it uses. */
export interface RuntimeNetwork {
  readonly binDirs: readonly string[];
  readonly confDir: string;
  readonly maxConfNum: number;
  /** Whether it starts the plugin `loopback` before every pod's own. */
  readonly usesLoopbackPlugin: boolean;
  /** What became of its last look at the configurations; undefined for "well". */
  readonly loadProblem?: string | undefined;
}

export interface NetworkFacts {
  /** Files of the runtime's configuration directory, by name. */
  readonly configurations: ReadonlyMap<string, string>;
  readonly confDir: string;
  readonly binDir: string;
  /** The program that the runtime starts; undefined where there is none. */
  readonly plugin: "native" | "script" | "not executable" | undefined;
  /** Whether the plugin `loopback` is there and may be executed. */
  readonly loopback: boolean;
  /** Files of ours in the usual directory, where the runtime looks elsewhere. */
  readonly strayed: readonly string[];
  /** Whether the agent's socket accepts. */
  readonly agentAnswers: boolean;
  /** What the plugin's own STATUS says: undefined for "well". */
  readonly status: Known<string | undefined>;
}

/** One container runtime, asked over a socket. */
export interface RuntimeAnswer {
  readonly name: string;
  readonly version: string;
  /** Conditions that are not met, as the runtime words them. */
  readonly notReady: readonly string[];
  /** Where it keeps images: what tells two runtimes of one version apart. */
  readonly images?: readonly string[] | undefined;
}

export interface RuntimeFacts {
  readonly socket: string;
  readonly direct: Known<RuntimeAnswer>;
  readonly proxySocket: string;
  /** `unknown` also where no proxy is installed: `proxyIsThere` tells these apart. */
  readonly proxied: Known<RuntimeAnswer>;
  readonly proxyIsThere: boolean;
  /** Undefined where it does not tell. */
  readonly network?: RuntimeNetwork | undefined;
}

export interface KubeletFacts {
  readonly setup: Known<KubeletSetup>;
  readonly version: KubeletVersion | undefined;
  readonly root: string;
  /** What the kubelet's own flag says of it. */
  readonly ownRoot?: string | undefined;
  /** What `trivet node` was started with. */
  readonly daemonRoot?: string | undefined;
  /** Whether what the daemon mounts reaches the kubelet, whose mounts may be its own; undefined where it is away. */
  readonly daemonShares?: boolean | "same mounts" | undefined;
  /** The endpoint's path without symbolic links. */
  readonly endpoint?: string | undefined;
  /** Whether mounts below the kubelet's directory reach other namespaces; undefined where that could not be read. */
  readonly isShared: boolean | undefined;
  /** Whether Trivet answers the kubelet's question for the driver by itself. */
  readonly registersItself: boolean;
  /** Whether a registrar sidecar does. */
  readonly hasRegistrar: boolean;
}

/** One of Trivet's own sockets. */
export interface SocketFacts {
  readonly path: string;
  readonly serves: string;
  readonly state: "absent" | "answers" | "stale" | "no socket";
  /** Permission bits, such as 0o600. */
  readonly mode?: number | undefined;
  readonly uid?: number | undefined;
  /** `pid (program)` of who listens. */
  readonly holder?: string | undefined;
  /** Permission bits of its directory, where others than root may write to that. */
  readonly openDirectory?: number | undefined;
}

export interface InstallFacts {
  /** Of this program. */
  readonly own: string;
  /** What `/opt/trivet/current` names. */
  readonly current: string | undefined;
  readonly currentIsWhole: boolean | undefined;
  /** Of the proxy's process, by the directory that it was started from. */
  readonly proxy: string | undefined;
  /** What an installer began and did not end. */
  readonly unfinished: readonly string[];
  /** Whether something starts the proxy at the next boot; undefined where there is no service manager that we know. */
  readonly proxyAtBoot: boolean | undefined;
}

export interface NodeFacts {
  readonly daemon: DaemonFacts;
  /** Undefined where its metrics are not served. */
  readonly proxy: ProxyFacts | undefined;
  readonly kernel: KernelFacts;
  readonly storage: StorageFacts;
  readonly network: NetworkFacts;
  readonly runtime: RuntimeFacts;
  readonly kubelet: KubeletFacts;
  readonly sockets: readonly SocketFacts[];
  readonly install: InstallFacts;
}
