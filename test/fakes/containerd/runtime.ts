/** What the methods of the fake share: its state, its events and the callbacks that stand for CNI and processes. */
import type { EventHub } from "./events.ts";
import type { LogStream } from "./log-file.ts";
import type { ContainerConfig, PodSandboxConfig } from "./messages.ts";
import type { State } from "./state.ts";

/** A sandbox as a CNI plugin is told about it. */
export interface CniSandbox {
  readonly id: string;
  /** Where the namespace would be; the fake makes none, so whoever needs a real one makes it in `add`. */
  readonly netnsPath: string;
  readonly config: PodSandboxConfig;
}

/** Called as containerd calls its CNI plugins. What is thrown fails the sandbox with containerd's text around it. */
export interface CniHook {
  /** Gives the pod's addresses without prefix length, the first one being the pod's own. */
  add(sandbox: CniSandbox): Promise<{ readonly ips: readonly string[] }>;
  del(sandbox: CniSandbox): Promise<void>;
}

/** A started container, as its stand-in for a process sees it. */
export interface RunningContainer {
  readonly id: string;
  readonly config: ContainerConfig;
  readonly sandbox: CniSandbox & { readonly ips: readonly string[] };
  /** The environment, the last entry winning. */
  readonly env: Readonly<Record<string, string>>;
  /** Aborted by StopContainer and when the server stops. */
  readonly signal: AbortSignal;
  /** Appends to the container's log at once, for a container that goes on running. */
  write(text: string | Uint8Array, stream?: LogStream): Promise<void>;
}

export interface RunResult {
  readonly exitCode: number;
  /** Goes to the log as stdout. */
  readonly output?: string | Uint8Array;
}

/** Stands for the container's process; a rejection is a process that died of SIGKILL. */
export type Run = (container: RunningContainer) => Promise<RunResult>;

export interface ExecResult {
  readonly stdout?: string;
  readonly stderr?: string;
  readonly exitCode?: number;
}

/** Stands for a command run inside a container. */
export type ExecSync = (
  container: { readonly id: string; readonly config: ContainerConfig },
  command: readonly string[],
  signal: AbortSignal,
) => Promise<ExecResult>;

export interface Runtime {
  readonly state: State;
  readonly events: EventHub;
  readonly cni: CniHook | undefined;
  readonly run: Run;
  readonly exec: ExecSync;
}

/** A `run` for a container that lives until it is stopped. */
export const runUntilStopped: Run = ({ signal }) =>
  new Promise((resolve) => {
    const end = () => resolve({ exitCode: 128 + 15 });
    if (signal.aborted) end();
    else signal.addEventListener("abort", end, { once: true });
  });
