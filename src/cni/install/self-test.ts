/** ADD, CHECK and DEL of a network in a namespace that is made for it. Whatever fails, DEL is tried and the namespace goes. */
import type { JsonObject } from "../protocol/problems.ts";
import { type ChainCall, type ChainDeps, hasCheck, type Network, runChain } from "./chain.ts";

/** A namespace that nobody else uses. */
export interface ScratchNamespace {
  readonly path: string;
  remove(): Promise<void>;
}

export interface TrialDeps extends ChainDeps {
  readonly makeNamespace: () => Promise<ScratchNamespace>;
  readonly nonce: () => string;
  /** Told after each step, so that it can look at what changed. */
  readonly onStep?: (step: TrialStep, namespace: ScratchNamespace) => Promise<void>;
}

/** One step that went well. */
export interface TrialStep {
  readonly command: "START" | "ADD" | "CHECK" | "DEL";
  readonly result?: JsonObject | undefined;
}

/** Throws what the first failing step threw. */
export async function tryNetwork(
  deps: TrialDeps,
  network: Network,
  pluginDirs: readonly string[],
): Promise<void> {
  const namespace = await deps.makeNamespace();
  const container = { id: `trivet-test-${deps.nonce()}`, netns: namespace.path, ifname: "eth0" };
  const call: ChainCall = { network, container, pluginDirs };
  const told = async (step: TrialStep) => deps.onStep?.(step, namespace);
  try {
    await told({ command: "START" });
    let result: JsonObject | undefined;
    try {
      result = await runChain(deps, "ADD", call);
      await told({ command: "ADD", result });
      if (hasCheck(network)) {
        await runChain(deps, "CHECK", { ...call, prevResult: result });
        await told({ command: "CHECK" });
      }
    } catch (error) {
      // Each plugin for itself: one that is missing or broken must not keep the others from cleaning up.
      for (const plugin of [...network.plugins].reverse()) {
        const alone = { ...call, network: { ...network, plugins: [plugin] }, prevResult: result };
        await runChain(deps, "DEL", alone).catch(() => undefined);
      }
      throw error;
    }
    await runChain(deps, "DEL", { ...call, prevResult: result });
    await told({ command: "DEL" });
  } finally {
    await namespace.remove();
  }
}
