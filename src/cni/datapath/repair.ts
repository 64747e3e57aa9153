/** Makes lost rules again from the records of pods, and removes elements that no record claims. Safe beside ADDs and DELs. */
import { isKind } from "../../errors.ts";
import type { HostPort, Nft, RuleChange, RulePart } from "../../host/nft.ts";
import type { CniDeps } from "../deps.ts";
import { holderOf } from "./host-ports.ts";
import { parseNetworks, planMasquerade } from "./masquerade.ts";
import { missingPorts, type Recorded, readRecorded } from "./recorded.ts";
import { removeHostPorts } from "./remove-ports.ts";
import { ruleTable } from "./rule-table.ts";

/** What a repair did. Counts of elements, and the parts of the rules that were made again. */
export interface RepairReport {
  readonly installed: readonly RulePart[];
  readonly networksAdded: number;
  readonly portsAdded: number;
  readonly portsRemoved: number;
}

/** One transaction with all ports of a node would not fit into a socket's buffer. */
const PORTS_AT_ONCE = 200;
const TRIES = 5;

/**
 * For the agent's start and its timer. Looks at all records and all elements, and writes only what differs; where no pod is
 * attached and nothing is left, nothing is written. Throws what the kernel refuses.
 */
export async function repairRules(
  deps: Pick<CniDeps, "nft" | "files" | "bootId">,
  { stateDir }: { readonly stateDir: string },
): Promise<RepairReport> {
  // Elements first: one that was there before its record was looked for, and has none, belongs to nobody.
  const { ports } = await deps.nft.readPorts(ruleTable);
  const recorded = await readRecorded(deps, { stateDir });
  const orphans = ports.filter((port) => !holderOf(port, recorded.others));
  await removeHostPorts(deps.nft, orphans);
  const restored = await restoreRules(deps.nft, recorded);
  return {
    installed: restored?.install ?? [],
    networksAdded: restored?.networks?.add.length ?? 0,
    portsAdded: restored?.ports?.add.length ?? 0,
    portsRemoved: orphans.length,
  };
}

/** Gives what was missing and is there now; undefined if nothing was. */
export async function restoreRules(
  nft: Nft,
  recorded: Pick<Recorded, "networks" | "ports" | "bridges">,
): Promise<RuleChange | undefined> {
  if (recorded.networks.length === 0 && recorded.ports.length === 0) return undefined;
  for (let triesLeft = TRIES; ; triesLeft -= 1) {
    try {
      return await restoreOnce(nft, recorded);
    } catch (error) {
      // Another program changed the rules meanwhile, or put in the same.
      if (triesLeft <= 1 || !isKind(error, "busy", "conflict", "not-found")) throw error;
    }
  }
}

async function restoreOnce(
  nft: Nft,
  recorded: Pick<Recorded, "networks" | "ports" | "bridges">,
): Promise<RuleChange | undefined> {
  const state = await nft.readRules(ruleTable);
  const needed: RulePart[] = [
    ...(recorded.networks.length > 0 ? ["masquerade" as const] : []),
    ...(recorded.ports.length > 0 ? ["ports" as const] : []),
  ];
  const install = needed.filter((part) => !state.parts.includes(part));
  const networks = planMasquerade(state.networks, parseNetworks(recorded.networks));
  const lost = await missingPorts(nft, recorded);
  const nothing = lost.ports.length + lost.hairpins.length + lost.bridges.length === 0;
  if (install.length === 0 && !networks && nothing) return undefined;
  const base = { install, ...(networks && { networks }), bridges: lost.bridges };
  await nft.write(ruleTable, {
    ...base,
    hairpins: { add: lost.hairpins.slice(0, PORTS_AT_ONCE), remove: [] },
  });
  await addInParts(nft, lost);
  return { ...base, ports: { add: lost.ports, remove: [] } };
}

async function addInParts(
  nft: Nft,
  { ports, hairpins }: { readonly ports: readonly HostPort[]; readonly hairpins: readonly string[] },
): Promise<void> {
  for (let start = PORTS_AT_ONCE; start < hairpins.length; start += PORTS_AT_ONCE) {
    await nft.write(ruleTable, {
      hairpins: { add: hairpins.slice(start, start + PORTS_AT_ONCE), remove: [] },
    });
  }
  for (let start = 0; start < ports.length; start += PORTS_AT_ONCE) {
    await nft.write(ruleTable, { ports: { add: ports.slice(start, start + PORTS_AT_ONCE), remove: [] } });
  }
}
