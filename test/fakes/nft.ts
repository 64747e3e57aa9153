/** The masquerade tables in memory. The contract in `test/contract/nft.ts` runs on this and on the kernel's. */
import ipaddr from "ipaddr.js";
import { errnoError } from "../../src/host/errno.ts";
import type { Nft } from "../../src/host/nft.ts";

export interface FakeNft extends Nft {
  /** Networks in the set of each table. A table that is here has its rule. */
  readonly tables: Map<string, Set<string>>;
  /** Called around each effect. */
  onEffect: ((op: string, subject: string, when: "before" | "after") => void) | undefined;
}

export function createFakeNft(tables: Map<string, Set<string>> = new Map()): FakeNft {
  const effect = async <T>(op: string, table: string, act: () => T): Promise<T> => {
    fake.onEffect?.(op, table, "before");
    const result = act();
    fake.onEffect?.(op, table, "after");
    return result;
  };
  const fake: FakeNft = {
    tables,
    onEffect: undefined,
    readMasquerade: (table) =>
      effect("nft.read", table, () => ({
        ruleInstalled: tables.has(table),
        cidrs: [...(tables.get(table) ?? [])].sort(byAddress),
      })),
    writeMasquerade: (table, { add, remove }) =>
      effect("nft.write", table, () => {
        const next = new Set(tables.get(table));
        for (const cidr of remove) {
          if (!next.delete(cidr)) throw errnoError("ENOENT", "nft.element.delete", cidr);
        }
        for (const cidr of add) {
          const overlaps = [...next].some((other) => other !== cidr && overlap(other, cidr));
          if (overlaps) throw errnoError("EEXIST", "nft.element.add", cidr);
          next.add(cidr);
        }
        tables.set(table, next);
      }),
    removeTable: (table) =>
      effect("nft.remove", table, () => {
        tables.delete(table);
      }),
  };
  return fake;
}

function overlap(left: string, right: string): boolean {
  const [leftAddress, leftLength] = ipaddr.IPv4.parseCIDR(left);
  const [rightAddress, rightLength] = ipaddr.IPv4.parseCIDR(right);
  return leftAddress.match(rightAddress, Math.min(leftLength, rightLength));
}

function byAddress(left: string, right: string): number {
  const value = (cidr: string) => Buffer.from(ipaddr.IPv4.parseCIDR(cidr)[0].toByteArray()).readUInt32BE();
  return value(left) - value(right);
}
