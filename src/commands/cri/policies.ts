/** The policies of `trivet cri`: what their settings mean, and what they tell the rest of the process. */
import type { CriConfig } from "../../config/cri.ts";
import type { CallsOptions } from "../../cri/calls.ts";
import type { PodIndex } from "../../cri/pods/pod-index.ts";
import { TrivetError } from "../../errors.ts";
import type { Log } from "../../observe/log.ts";
import type { PolicyDirectory } from "../policy-directory.ts";

export interface ProxyPolicies {
  readonly forCalls: Pick<CallsOptions, "policies" | "unknownMethods">;
  names(): string[];
  /** Reads them again and says how it went; throws where the last good ones stay. */
  reload(): Promise<string>;
  /** Why the policies in force are not those that were asked for. */
  notReady(): string | undefined;
  /** Tells of each reload from now on, and of a start with other policies than those of the directory. */
  report(onReload: (result: "ok" | "failed") => void): void;
}

/** Throws `invalid` for policies that cannot be used, where no good ones were kept. */
export async function openPolicies(
  { policyDir, policyCache, exemptNamespaces, unknownMethods }: CriConfig,
  { log, pods }: { readonly log: Log; readonly pods: PodIndex },
): Promise<ProxyPolicies> {
  let onReload: (result: "ok" | "failed") => void = () => undefined;
  let opened: PolicyDirectory | undefined;
  if (policyDir !== undefined) {
    // What policies need is loaded only where there are any: six megabytes of this process's memory.
    const { openPolicyDirectory } = await import("../policy-directory.ts");
    opened = await openPolicyDirectory({
      directory: policyDir,
      cacheFile: policyCache,
      exempt: { namespaces: new Set(exemptNamespaces), staticPods: true },
      pods,
      log,
      onReload: (result) => onReload(result),
    });
  }
  const directory = opened;
  return {
    forCalls: { policies: directory?.engine, unknownMethods },
    names: () => directory?.engine.policies.map(({ name }) => name) ?? [],
    async reload() {
      if (!directory) return "there is no policy directory";
      const { ok, policies, error } = await directory.reload();
      if (ok) return `${policies.length} policies are in force`;
      const message = `the last good policies stay in force: ${error}`;
      throw new TrivetError({ kind: "invalid", op: "policy.reload", subject: policyDir ?? "", message });
    },
    notReady: () =>
      directory?.problem() === undefined
        ? undefined
        : "the policies in force are not those of the directory: the log says why",
    report(to) {
      onReload = to;
      if (directory?.problem() !== undefined) to("failed");
    },
  };
}
