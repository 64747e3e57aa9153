/**
 * Masquerade of the pod networks: one static rule for each family over a set. A pod never changes it, neither by coming nor
 * by going; networks are only ever added. Pure: `rules.ts` installs what is planned here.
 */
import { contains, formatNetwork, type IpNetwork, networkOf, parseCidr } from "../ipam/address.ts";

/** What to change of the sets: networks as `10.88.0.0/16`. */
export interface MasqueradeChange {
  readonly add: readonly string[];
  readonly remove: readonly string[];
}

/** What is missing; undefined if nothing is. An interval set takes no overlaps, so a wider network replaces narrower ones. */
export function planMasquerade(
  cidrs: readonly string[],
  wanted: readonly IpNetwork[],
): MasqueradeChange | undefined {
  const present = parseNetworks(cidrs);
  const widestFirst = [...wanted].sort((left, right) => left.prefixLength - right.prefixLength);
  const add: IpNetwork[] = [];
  for (const network of widestFirst) {
    if (![...present, ...add].some((wider) => holds(wider, network))) add.push(network);
  }
  if (add.length === 0) return undefined;
  const remove = present.filter((network) => add.some((wider) => holds(wider, network)));
  return { add: add.map(formatNetwork), remove: remove.map(formatNetwork) };
}

/** Texts as networks; what is none is left out. */
export function parseNetworks(cidrs: readonly string[]): IpNetwork[] {
  return cidrs.flatMap((text) => {
    const cidr = parseCidr(text);
    return cidr ? [networkOf(cidr)] : [];
  });
}

function holds(wider: IpNetwork, narrower: IpNetwork): boolean {
  return wider.prefixLength <= narrower.prefixLength && contains(wider, narrower.base);
}
