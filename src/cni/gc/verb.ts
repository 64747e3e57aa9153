/**
 * GC (SPEC.md): the runtime says which attachments are valid, and everything else of the network goes. Removes all it can, goes on
 * after failures and reports them; what a call of this process is still working on is waited for last, and no longer than GC may take.
 */
import { join } from "node:path";
import { asTrivetError, isKind, TrivetError } from "../../errors.ts";
import type { CallContext } from "../context.ts";
import type { CniDeps } from "../deps.ts";
import { runDelegate } from "../ipam/delegate.ts";
import { recordedIpam } from "../ipam/foreign.ts";
import { type KeyedTurns, turnKey } from "../keyed-turns.ts";
import type { NetworkIdentity } from "../protocol/netconf.ts";
import { parseValidAttachments } from "../protocol/valid-attachments.ts";
import { type NetworkPaths, networkPaths } from "../state/paths.ts";
import type { Finding } from "./finding.ts";
import { observeAgainst } from "./observe.ts";
import { settle } from "./settle.ts";

interface GcOptions {
  readonly identity: NetworkIdentity;
  readonly turns: KeyedTurns;
}

/** Gives how many leftovers were removed. Throws one error for all that could not be. */
export async function gc(context: CallContext, { identity, turns }: GcOptions): Promise<number> {
  const { deps, request, signal } = context;
  const { name: network, stateDir } = identity;
  const startedMs = deps.clock.nowMs();
  const valid = parseValidAttachments(request.config);
  const paths = networkPaths(join(stateDir, deps.bootId), network);
  const found = await observeAgainst(deps, { paths, network, valid, beforeMs: startedMs });
  const failures: string[] = [];
  let removed = 0;
  for (const finding of idleFirst(found, { turns, paths })) {
    try {
      signal.throwIfAborted();
      const work = () => settle(deps, { stateDir, finding, condemned: true });
      if (await within(signal, turns.run(turnOf(finding), work))) removed += 1;
    } catch (error) {
      failures.push(`${finding.kind} ${finding.subject}: ${asTrivetError(error, "gc", network).message}`);
      if (signal.aborted) break;
    }
  }
  failures.push(...(await collectForeign(context)));
  signal.throwIfAborted();
  if (failures.length > 0) throw incomplete(network, removed, failures);
  return removed;
}

/** The turn of a finding: that of its attachment, or one of its own. */
export function turnOf(finding: Finding): string {
  if ("record" in finding) return turnKey(finding.record);
  return "key" in finding ? turnKey(finding.key) : `${finding.network} ${finding.kind} ${finding.subject}`;
}

/** A stuck call must hold up its own attachment only. */
function idleFirst(
  found: readonly Finding[],
  { turns, paths }: { readonly turns: KeyedTurns; readonly paths: NetworkPaths },
): Finding[] {
  const busy = found.filter((finding) => turns.isBusy(turnOf(finding)));
  // A file that a call of this process is about to use: its attachment is valid in a moment, or its own failure clears it.
  const used = (finding: Finding) =>
    finding.kind === "staged file" && turns.busyKeys().some((key) => isStagedBy(finding.name, key, paths));
  return [...found.filter((finding) => !busy.includes(finding) && !used(finding)), ...busy];
}

function isStagedBy(name: string, key: string, paths: NetworkPaths): boolean {
  const [, containerId = "", ifname = ""] = key.split(" ");
  return name.startsWith(paths.stagingPrefix({ containerId, ifname }));
}

/** Waits for the work, but not beyond the signal. */
function within<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

/** The other IPAM plugin's GC, with the same list. One that is too old to know GC keeps what it has. */
async function collectForeign({ deps, request, signal, log }: CallContext): Promise<string[]> {
  const ipam = recordedIpam(request);
  if (!ipam || signal.aborted) return [];
  return askForeign(deps, { ...request, command: "GC", type: ipam.type, signal, log });
}

/** STATUS or GC of another plugin: what it says is wrong; nothing where it does not know the command. */
export async function askForeign(deps: CniDeps, call: Parameters<typeof runDelegate>[1]): Promise<string[]> {
  try {
    await runDelegate(deps, call);
    return [];
  } catch (error) {
    // The reference skeleton answers an unknown command with code 4, and a version that has none with code 1.
    if (isKind(error, "environment", "version")) return [];
    return [asTrivetError(error, "ipam.delegate", call.type).message];
  }
}

const MAX_TOLD = 10;

function incomplete(network: string, removed: number, failures: readonly string[]): TrivetError {
  const told = failures.slice(0, MAX_TOLD).join("; ");
  const more = failures.length > MAX_TOLD ? `; and ${failures.length - MAX_TOLD} more` : "";
  return new TrivetError({
    kind: "io",
    op: "gc",
    subject: network,
    message: `gc of network ${network} removed ${removed} leftovers and failed at ${failures.length}: ${told}${more}`,
  });
}
