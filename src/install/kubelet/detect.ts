/** How does this node run its kubelet? One decision, pure over the facts: by the process that is, or that holds, the kubelet. */
import { basename } from "node:path";
import type { NodeFacts, NodeProcess } from "./facts.ts";
import { detectK3s } from "./k3s.ts";
import { detectMicrok8s } from "./microk8s.ts";
import { detectPlain } from "./plain.ts";
import { type KubeletSetup, refusal } from "./setup.ts";

type Kind = "kubelet" | "k3s" | "rke2" | "microk8s" | "k0s";

/** What a process is, if it has to do with a kubelet. k3s and rke2 write all of their name into their first argument. */
export function kindOfProcess(argv: readonly string[]): Kind | undefined {
  const [program = "", role] = argv.join(" ").split(" ").filter(Boolean);
  const name = basename(program);
  if ((name === "k3s" || name === "rke2") && (role === "server" || role === "agent")) return name;
  if (name === "k0s" && (role === "worker" || role === "controller")) return "k0s";
  if (name === "kubelite") return "microk8s";
  return name === "kubelet" ? "kubelet" : undefined;
}

/** The one process that holds the kubelet's connections. Throws kind `precondition` for none, and for several. */
export function findKubelet(processes: readonly NodeProcess[]): { kind: Kind; process: NodeProcess } {
  const found = processes.map((candidate) => ({ kind: kindOfProcess(candidate.argv), process: candidate }));
  const of = (kind: Kind) => found.filter((one) => one.kind === kind).map(({ process }) => process);
  const kinds = (["k0s", "rke2", "k3s", "microk8s", "kubelet"] as const).filter(
    (kind) => of(kind).length > 0,
  );
  const [kind] = kinds;
  if (!kind)
    throw refusal(
      "kubelet",
      "no kubelet runs here: start it, and run this on its own host, with all namespaces",
    );
  const others = kinds.slice(1).filter((other) => other !== "kubelet");
  if (others.length > 0) throw refusal("kubelet", `several kinds of kubelets run here: ${kinds.join(", ")}`);
  if (kind === "k0s") throw refuseK0s();
  // rke2 runs its kubelet as a process of its own; the others are one with it.
  const holders = of(kind === "rke2" ? "kubelet" : kind);
  const [process] = holders;
  if (!process)
    throw refusal("kubelet", `${kind} runs here, but its kubelet does not: look at its log first`);
  if (holders.length > 1) {
    const pids = holders.map(({ pid }) => pid).join(", ");
    throw refusal(
      "kubelet",
      `several kubelets run here, as processes ${pids}: stop those that are not this node's`,
    );
  }
  return { kind, process };
}

/** Throws kind `precondition`, with what to do, for a node that cannot be wired by this program. */
export function detectKubelet(facts: NodeFacts): KubeletSetup {
  const { kind, process } = findKubelet(facts.processes);
  if (kind === "k3s" || kind === "rke2") return detectK3s(facts, process, kind);
  return kind === "microk8s" ? detectMicrok8s(facts, process) : detectPlain(facts, process);
}

function refuseK0s() {
  return refusal(
    "k0s",
    "k0s starts its kubelet with flags of its own making, in no file that could be edited: start the proxy with --upstream unix:///run/k0s/containerd.sock, add --kubelet-extra-args=--container-runtime-endpoint=unix:///run/trivet/cri.sock to the command line of the k0s service (never --cri-socket, which switches k0s's own containerd off), restart that service, and take the flag away again to undo it",
  );
}
