/** What wiring the kubelet needs of the host, as effects. */
import type { Clock } from "../../host/clock.ts";
import type { AskCri } from "../../host/cri-identity.ts";
import type { Exec } from "../../host/exec.ts";
import type { Files } from "../../host/files.ts";
import type { ProcessSockets } from "../../host/process-sockets.ts";
import type { ListProcesses } from "../../host/processes.ts";

export interface KubeletDeps {
  readonly files: Files;
  readonly exec: Exec;
  readonly clock: Clock;
  readonly listProcesses: ListProcesses;
  readonly sockets: ProcessSockets;
  readonly askCri: AskCri;
  /** The status of an HTTP GET. Rejects where nobody answers in a few seconds. */
  readonly getStatus: (url: string) => Promise<number>;
  /** Starts a program that outlives this process, its session and its service; its output goes to the file. */
  readonly startDetached: (argv: readonly [string, ...string[]], logFile: string) => Promise<void>;
  /** One line for whoever looks on. */
  readonly tell: (line: string) => void;
}

/** The deps, and Trivet's state directory on this node. */
export interface NodeDeps extends KubeletDeps {
  readonly stateDir: string;
}
