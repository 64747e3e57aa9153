/** CHECK of what the host's rules must hold for a pod: its networks' masquerade, and each of its host ports. */
import { isDeepStrictEqual } from "node:util";
import type { CniDeps } from "../deps.ts";
import type { AttachmentRecord } from "../state/attachments.ts";
import { describePort, portsOfRecord } from "./host-ports.ts";
import { parseNetworks, planMasquerade } from "./masquerade.ts";
import { ruleTable } from "./rule-table.ts";

/** What is wrong, as sentences. A pod without masquerade and host ports needs no rules, and none are looked at. */
export async function checkRules({ nft }: Pick<CniDeps, "nft">, record: AttachmentRecord): Promise<string[]> {
  const { masquerade = [] } = record;
  const ports = portsOfRecord(record);
  if (masquerade.length === 0 && ports.length === 0) return [];
  const { parts, networks } = await nft.readRules(ruleTable);
  const differences: string[] = [];
  const missing = planMasquerade(networks, parseNetworks(masquerade))?.add ?? [];
  if (masquerade.length > 0 && !parts.includes("masquerade")) {
    differences.push(`the rules of masquerade are not in the nft table ${ruleTable}`);
  } else {
    differences.push(...missing.map((network) => `${network} is not masqueraded`));
  }
  if (ports.length === 0) return differences;
  if (!parts.includes("ports")) {
    return [...differences, `the rules of host ports are not in the nft table ${ruleTable}`];
  }
  const { ports: present } = await nft.findPorts(ruleTable, ports);
  const lost = ports.filter((port) => !present.some((other) => isDeepStrictEqual(other, port)));
  return [...differences, ...lost.map((port) => `${describePort(port)} does not lead to the pod`)];
}
