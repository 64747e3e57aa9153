/** Takes a pod's host ports out of the rules: in one transaction, as often as it is called, and never another pod's. */
import { isKind } from "../../errors.ts";
import type { HostPort, Nft } from "../../host/nft.ts";
import { ruleTable } from "./rule-table.ts";

const TRIES = 20;
const PORTS_AT_ONCE = 100;

/** All of these that lead where they say. Nothing happens where there is nothing. */
export async function removeHostPorts(nft: Nft, ports: readonly HostPort[]): Promise<void> {
  for (let start = 0; start < ports.length; start += PORTS_AT_ONCE) {
    await removeSome(nft, ports.slice(start, start + PORTS_AT_ONCE));
  }
}

async function removeSome(nft: Nft, ports: readonly HostPort[]): Promise<void> {
  try {
    await nft.write(ruleTable, removal(ports));
  } catch (error) {
    // No table, or a port that leads to another pod by now: look what there is.
    if (!isKind(error, "not-found", "conflict", "precondition", "busy")) throw error;
    await removeWhatIsThere(nft, ports, TRIES);
  }
}

function removal(ports: readonly HostPort[]) {
  const addresses = [...new Set(ports.map(({ podAddress }) => podAddress))];
  return { ports: { add: [], remove: ports }, hairpins: { add: [], remove: addresses } };
}

async function removeWhatIsThere(nft: Nft, ports: readonly HostPort[], triesLeft: number): Promise<void> {
  const present = await nft.readPorts(ruleTable);
  const there = new Set(present.ports.map(textOf));
  const left = ports.filter((port) => there.has(textOf(port)));
  const hairpins = present.hairpins.filter((address) =>
    ports.some(({ podAddress }) => podAddress === address),
  );
  if (left.length + hairpins.length === 0) return;
  const change = { ports: { add: [], remove: left }, hairpins: { add: [], remove: hairpins } };
  try {
    await nft.write(ruleTable, change, present.generation);
  } catch (error) {
    if (triesLeft <= 1 || !isKind(error, "busy", "not-found")) throw error;
    await removeWhatIsThere(nft, ports, triesLeft - 1);
  }
}

function textOf({ family, protocol, hostPort, hostIp, podAddress, podPort }: HostPort): string {
  return [family, protocol, hostPort, hostIp ?? "", podAddress, podPort].join(" ");
}
