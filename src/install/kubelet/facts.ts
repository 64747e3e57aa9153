/**
 * What is known of a node's kubelet: processes, and the text of the files that decide how it is started. A snapshot: whoever decides
 * something by it looks at nothing else.
 */

/** A process that may be the kubelet, or the program that the kubelet is a part of. */
export interface NodeProcess {
  readonly pid: number;
  /** Clock ticks since boot at which it was started: with the pid it names a process for good. */
  readonly startTicks: bigint;
  readonly argv: readonly string[];
  /** The systemd service that it belongs to by its control group, such as `kubelet.service`. */
  readonly service: string | undefined;
}

export type InitSystem = "systemd" | "openrc" | "none";

export interface NodeFacts {
  readonly init: InitSystem;
  readonly processes: readonly NodeProcess[];
  /** By absolute path; a file that is not in it is not there. */
  readonly files: ReadonlyMap<string, string>;
  /** What the kubelet says of itself, such as [1, 31]; undefined where it could not be asked. */
  readonly version: KubeletVersion | undefined;
}

export type KubeletVersion = readonly [major: number, minor: number];

/** `Kubernetes v1.31.2` and what distributions make of it. */
export function parseVersion(text: string): KubeletVersion | undefined {
  const [, major, minor] = /\bv?(\d+)\.(\d+)(?:\.|\b)/.exec(text) ?? [];
  return major === undefined || minor === undefined ? undefined : [Number(major), Number(minor)];
}

/** The names of the files of a directory, without those of the directories in it. */
export function namesIn(files: ReadonlyMap<string, string>, directory: string): string[] {
  const prefix = `${directory}/`;
  const names = [...files.keys()]
    .filter((path) => path.startsWith(prefix))
    .map((path) => path.slice(prefix.length));
  return names.filter((name) => !name.includes("/")).sort();
}
