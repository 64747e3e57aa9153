/** Trivet's nf_tables tables in memory. The contract in `test/contract/nft.ts` runs on this and on the kernel's. */
import ipaddr from "ipaddr.js";
import { errnoError } from "../../src/host/errno.ts";
import type { HostPort, HostPortKey, Nft, RuleChange, RulePart } from "../../src/host/nft.ts";

/** One table. */
export interface FakeTable {
  readonly parts: Set<RulePart>;
  readonly networks: Set<string>;
  readonly clusterNetworks: Set<string>;
  /** By family, protocol, number and host address. */
  readonly ports: Map<string, HostPort>;
  readonly hairpins: Set<string>;
  readonly bridges: Set<string>;
}

/** The rules of a network namespace, by table. Clearing it is what `nft flush ruleset` does. */
export class FakeTables extends Map<string, FakeTable> {
  generation = 1;

  override clear(): void {
    super.clear();
    this.generation += 1;
  }
}

export interface FakeNft extends Nft {
  readonly tables: FakeTables;
  /** Called around each effect. */
  onEffect: ((op: string, subject: string, when: "before" | "after") => void) | undefined;
}

const keyOf = ({ family, protocol, hostPort, hostIp }: HostPortKey): string =>
  `IPv${family} ${protocol} ${hostPort} ${hostIp ?? "any"}`;

export function createFakeNft(tables: FakeTables = new FakeTables()): FakeNft {
  const effect = async <T>(op: string, table: string, act: () => T): Promise<T> => {
    fake.onEffect?.(op, table, "before");
    const result = act();
    fake.onEffect?.(op, table, "after");
    return result;
  };
  const portsOf = (table: string) => [...(tables.get(table)?.ports.values() ?? [])];
  const fake: FakeNft = {
    tables,
    onEffect: undefined,
    generation: () => effect("nft.read", "generation", () => tables.generation),
    readRules: (table) =>
      effect("nft.read", table, () => ({
        generation: tables.generation,
        parts: [...(tables.get(table)?.parts ?? [])].sort(),
        networks: [...(tables.get(table)?.networks ?? [])].sort(byAddress),
      })),
    readClusterNetworks: (table) =>
      effect("nft.read", table, () => ({
        generation: tables.generation,
        networks: [...(tables.get(table)?.clusterNetworks ?? [])].sort(byAddress),
      })),
    readPorts: (table) =>
      effect("nft.read", table, () => ({
        generation: tables.generation,
        ports: portsOf(table),
        hairpins: [...(tables.get(table)?.hairpins ?? [])],
        bridges: [...(tables.get(table)?.bridges ?? [])],
      })),
    findPorts: (table, wanted) =>
      effect("nft.read", table, () => ({
        generation: tables.generation,
        ports: portsOf(table).filter((port) => wanted.some((key) => meet(key, port))),
      })),
    write: (table, change, generation) =>
      effect("nft.write", table, () => {
        if (generation !== undefined && generation !== tables.generation) {
          throw errnoError("EAGAIN", "nft.transaction", "the rule set");
        }
        const next = copyOf(tables.get(table));
        applyChange(next, change);
        tables.set(table, next);
        tables.generation += 1;
      }),
    removeTable: (table) =>
      effect("nft.remove", table, () => {
        tables.delete(table);
        tables.generation += 1;
      }),
  };
  return fake;
}

function copyOf(table: FakeTable | undefined): FakeTable {
  return {
    parts: new Set(table?.parts),
    networks: new Set(table?.networks),
    clusterNetworks: new Set(table?.clusterNetworks),
    ports: new Map(table?.ports),
    hairpins: new Set(table?.hairpins),
    bridges: new Set(table?.bridges),
  };
}

function applyChange(table: FakeTable, change: RuleChange): void {
  for (const part of change.install ?? []) table.parts.add(part);
  const { networks, clusterNetworks, ports, hairpins, bridges = [] } = change;
  const needing = (part: RulePart, op: string, subject: string) => {
    if (!table.parts.has(part)) throw errnoError("ENOENT", op, subject);
  };
  for (const [set, wanted] of [
    [table.networks, networks],
    [table.clusterNetworks, clusterNetworks],
  ] as const) {
    for (const cidr of wanted?.remove ?? []) {
      if (!set.delete(cidr)) throw errnoError("ENOENT", "nft.element.delete", cidr);
    }
    for (const cidr of wanted?.add ?? []) {
      needing("masquerade", "nft.element.add", cidr);
      const overlaps = [...set].some((other) => other !== cidr && overlap(other, cidr));
      if (overlaps) throw errnoError("EEXIST", "nft.element.add", cidr);
      set.add(cidr);
    }
  }
  for (const port of ports?.remove ?? []) {
    needing("ports", "nft.element.add", keyOf(port));
    const there = table.ports.get(keyOf(port));
    if (there && !leadsToSame(there, port)) throw errnoError("EEXIST", "nft.element.add", keyOf(port));
    table.ports.delete(keyOf(port));
  }
  for (const address of hairpins?.remove ?? []) {
    needing("ports", "nft.element.add", address);
    table.hairpins.delete(address);
  }
  for (const port of ports?.add ?? []) {
    needing("ports", "nft.element.add", keyOf(port));
    if (table.ports.has(keyOf(port))) throw errnoError("EEXIST", "nft.element.add", keyOf(port));
    table.ports.set(keyOf(port), port);
  }
  for (const address of hairpins?.add ?? []) {
    needing("ports", "nft.element.add", address);
    table.hairpins.add(address);
  }
  for (const name of bridges) {
    needing("ports", "nft.element.add", name);
    table.bridges.add(name);
  }
}

function leadsToSame(left: HostPort, right: HostPort): boolean {
  return left.podAddress === right.podAddress && left.podPort === right.podPort;
}

function meet(left: HostPortKey, right: HostPortKey): boolean {
  const apart = left.hostIp !== undefined && right.hostIp !== undefined && left.hostIp !== right.hostIp;
  return (
    left.family === right.family &&
    left.protocol === right.protocol &&
    left.hostPort === right.hostPort &&
    !apart
  );
}

const known = new Map<string, string>();

/** Family and network as a text of bits, which the text of every smaller network in it begins with. */
function bitsOf(cidr: string): string {
  let bits = known.get(cidr);
  if (bits === undefined) {
    const [address, length] = ipaddr.parseCIDR(cidr);
    const digits = address.toByteArray().map((byte) => byte.toString(2).padStart(8, "0"));
    bits = address.kind() + digits.join("").slice(0, length);
    known.set(cidr, bits);
  }
  return bits;
}

function overlap(left: string, right: string): boolean {
  const [one, other] = [bitsOf(left), bitsOf(right)];
  return one.startsWith(other) || other.startsWith(one);
}

/** IPv4 first, each by the bytes of the address. */
function byAddress(left: string, right: string): number {
  const bytes = (cidr: string) => Buffer.from(ipaddr.parseCIDR(cidr)[0].toByteArray());
  return bytes(left).length - bytes(right).length || Buffer.compare(bytes(left), bytes(right));
}
