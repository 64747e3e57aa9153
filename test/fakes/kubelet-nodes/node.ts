/** What a node is to the tests of its kubelet's wiring, and the texts that all of them share. */
import type { NodeFacts, NodeProcess } from "../../../src/install/kubelet/facts.ts";

export interface KubeletNode {
  readonly name: string;
  readonly files: Readonly<Record<string, string>>;
  readonly processes: readonly { readonly argv: readonly string[]; readonly service?: string }[];
  readonly version?: readonly [number, number];
  readonly init?: NodeFacts["init"];
  /** What a look at it must find. */
  readonly found: {
    readonly distribution: string;
    readonly service: string;
    readonly runtime: string;
    readonly healthUrl?: string | undefined;
  };
  /** By file: the lines that go and come, each with its sign. */
  readonly changes: Readonly<Record<string, readonly string[]>>;
}

/** The endpoint that most have before, and the one that all have afterwards. */
export const containerd = "unix:///run/containerd/containerd.sock";
export const proxy = "unix:///run/trivet/cri.sock";

/** The first line of every file of ours, as one that came. */
export const dropInHead = "+# Written by 'trivet install kubelet'; 'trivet uninstall kubelet' takes it away.";

/** The processes as a look at the host would have them. */
export function processesOf({ processes }: Pick<KubeletNode, "processes">): NodeProcess[] {
  return processes.map(({ argv, service }, index) => ({
    pid: 700 + index,
    startTicks: 4000n + BigInt(index),
    // As /proc has it: what follows the last argument is cut.
    argv: argv.join("\0").replace(/\0+$/, "").split("\0"),
    service,
  }));
}
