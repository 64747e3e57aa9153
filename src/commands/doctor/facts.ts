/**
 * What doctor knows of a node: a snapshot that is gathered once (gather-*.ts), and that the checks judge (check-*.ts) without looking
 * at anything else. What could not be read is a reason in place of a value.
 */
import type { PoolStatus } from "../../csi/pool/pool.ts";
import type { FileSystemSpace } from "../../host/files.ts";
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

/** A pool as the daemon has it, with the disk below it. */
export interface PoolFacts {
  readonly status: PoolStatus;
  readonly space?: FileSystemSpace | undefined;
}

export interface StorageFacts {
  readonly pools: Known<readonly PoolFacts[]>;
  /** Volumes whose condition is abnormal, as `id: why`. */
  readonly abnormal: Known<readonly string[]>;
  /** How many of each kind. */
  readonly orphans: Known<Readonly<Record<string, number>>>;
  /** Programs that image pools run and this process does not find. */
  readonly missingPrograms: readonly string[];
}

export interface NetworkFacts {
  /** Files of the runtime's configuration directory, by name. */
  readonly configurations: ReadonlyMap<string, string>;
  readonly confDir: string;
  readonly binDir: string;
  /** The program that the runtime starts; undefined where there is none. */
  readonly plugin: "native" | "script" | "not executable" | undefined;
  readonly loopback: boolean;
  /** What the plugin's own STATUS says: undefined for "well". */
  readonly status: Known<string | undefined>;
}

/** One container runtime, asked over a socket. */
export interface RuntimeAnswer {
  readonly name: string;
  readonly version: string;
  /** Conditions that are not met, as the runtime words them. */
  readonly notReady: readonly string[];
}

export interface RuntimeFacts {
  readonly socket: string;
  readonly direct: Known<RuntimeAnswer>;
  readonly proxySocket: string;
  /** `unknown` also where no proxy is installed: `proxyIsThere` tells these apart. */
  readonly proxied: Known<RuntimeAnswer>;
  readonly proxyIsThere: boolean;
  /** Whether containerd brings up loopback by itself (its configuration says so). */
  readonly usesInternalLoopback: boolean;
}

export interface KubeletFacts {
  readonly setup: Known<KubeletSetup>;
  readonly version: KubeletVersion | undefined;
  readonly root: string;
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
}

export interface InstallFacts {
  /** Of this program. */
  readonly own: string;
  /** What `/opt/trivet/current` names. */
  readonly current: string | undefined;
  readonly currentIsWhole: boolean | undefined;
  /** Of the daemon that answers on the health address. */
  readonly node: string | undefined;
  /** Of the proxy's process, by the directory that it was started from. */
  readonly proxy: string | undefined;
  /** What an installer began and did not end. */
  readonly unfinished: readonly string[];
}

export interface NodeFacts {
  readonly kernel: KernelFacts;
  readonly storage: StorageFacts;
  readonly network: NetworkFacts;
  readonly runtime: RuntimeFacts;
  readonly kubelet: KubeletFacts;
  readonly sockets: readonly SocketFacts[];
  readonly install: InstallFacts;
}
