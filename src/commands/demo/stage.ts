/** What a demo runs on: Trivet's processes and a runtime, real or simulated. The scenario is the same on both. */
import type { StepRecorder } from "../../../test/fakes/kubelet/timing.ts";
import type { Daemon } from "./daemon.ts";
import type { DemoPaths } from "./files.ts";
import type { HostState } from "./host-state.ts";

/** A lease as the store has it. */
export interface DemoLease {
  readonly address: string;
  readonly containerId: string;
  readonly ifname: string;
  readonly pod: string;
  readonly state: string;
}

export interface Stage {
  readonly paths: DemoPaths;
  /** The pods' subnet. */
  readonly subnet: string;
  readonly image: string;
  /** `trivet node` and `trivet cri`, to be killed and started again by tests. */
  readonly node: Daemon;
  readonly cri: Daemon;
  /** Starts everything; each part is a step. */
  start(steps: StepRecorder): Promise<void>;
  leases(): Promise<readonly DemoLease[]>;
  /** A file in a volume, read in the pool itself. */
  readVolumeFile(
    volumeId: string,
    name: string,
  ): Promise<{ readonly path: string; readonly content: string }>;
  /** Volumes and trash in the pool, by path. */
  volumes(): Promise<readonly string[]>;
  /** Ends what `start` started, and undoes what it changed on the machine. Every part is tried. */
  stop(): Promise<void>;
  /** The machine as it looks now. */
  hostState(): Promise<HostState>;
}
