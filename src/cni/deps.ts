/** What the CNI leg needs of the world. The verbs build it from `host/`; tests build it from fakes. */
import type { Clock } from "../host/clock.ts";
import type { Conntrack } from "../host/conntrack.ts";
import type { Exec } from "../host/exec.ts";
import type { Files } from "../host/files.ts";
import type { Netlink } from "../host/netlink.ts";
import type { Netns } from "../host/netns.ts";
import type { Nft } from "../host/nft.ts";
import type { NetnsSysctl, Sysctl } from "../host/sysctl.ts";

/** All effects of the leg: there is no other way from `src/cni` to the machine, but for the agent's own socket. */
export interface CniDeps {
  readonly files: Files;
  readonly netns: Netns;
  readonly netlink: Netlink;
  readonly nft: Nft;
  readonly conntrack: Conntrack;
  readonly sysctl: NetnsSysctl;
  readonly clock: Clock;
  /** The value of `kernel.random.boot_id`: what an earlier boot left behind is dead. */
  readonly bootId: string;
  /** A text of letters and digits that no other call gets, for names of temporary files. */
  readonly nonce: () => string;
  /** Runs other IPAM plugins; where it is missing, a network that needs one is refused. */
  readonly exec?: Exec;
  readonly observer?: CniObserver;
}

/** One finished call, for metrics. */
export interface CniCallObservation {
  readonly command: string;
  /** 0 for success, otherwise the CNI code. */
  readonly code: number;
  readonly ms: number;
}

/** The steps of ADD and DEL that cost time, in their order. */
export type CniStep = "record" | "addresses" | "rules" | "link" | "flows" | "commit";

/** One step of a call, for metrics. What is cleared away for another reason than a DEL counts as one. */
export interface CniStepObservation {
  readonly command: "ADD" | "DEL";
  readonly step: CniStep;
  readonly ms: number;
}

/** Takes observations. Must not throw. */
export interface CniObserver {
  call(observation: CniCallObservation): void;
  /** How long one step of a call took, whether it succeeded or not. */
  step?(observation: CniStepObservation): void;
  /** After each look of a sweep: what was settled, by kind, and how much was found and waits for the next look. */
  swept?(look: {
    readonly settled: readonly string[];
    readonly waiting: number;
    readonly failed: number;
  }): void;
}

/** Reads the boot id for `CniDeps` (proc(5)). */
export function readBootId(sysctl: Sysctl): Promise<string> {
  return sysctl.read("kernel.random.boot_id");
}
