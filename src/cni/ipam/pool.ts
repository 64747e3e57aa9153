/**
 * The addresses of one range set as numbers 0..size-1, and the order in which they are tried. Pure: which of them are
 * taken is known to the lease store alone.
 */
import { formatAddress, type IpAddress, type IpNetwork } from "./address.ts";

/** One entry of a range set in host-local's form, with its defaults filled in. Both ends may be leased. */
export interface AddressRange {
  readonly subnet: IpNetwork;
  readonly rangeStart: IpAddress;
  readonly rangeEnd: IpAddress;
  /** Never leased. In routed mode nothing has this address; other plugins on the same subnet might. */
  readonly gateway: IpAddress;
}

/** A pod gets one address from each set. */
export type RangeSet = readonly AddressRange[];

const sizeOf = ({ rangeStart, rangeEnd }: AddressRange): bigint => rangeEnd.value - rangeStart.value + 1n;

/** Places in the set, those of gateways included. */
export function poolSize(set: RangeSet): bigint {
  return set.reduce((sum, range) => sum + sizeOf(range), 0n);
}

/** Addresses that can be leased: places without those of gateways. */
export function leasableCount(set: RangeSet): bigint {
  const gateways = new Set(set.map(({ gateway }) => gateway.value));
  const inside = [...gateways].filter((value) => placeOf(set, value) !== undefined);
  return poolSize(set) - BigInt(inside.length);
}

/** The place of an address, undefined where it lies in no range of the set. */
export function placeOf(set: RangeSet, value: bigint): bigint | undefined {
  let before = 0n;
  for (const range of set) {
    if (range.rangeStart.value <= value && value <= range.rangeEnd.value) {
      return before + value - range.rangeStart.value;
    }
    before += sizeOf(range);
  }
  return undefined;
}

/** The address at a place, or undefined where it is a gateway. */
export function addressAt(set: RangeSet, place: bigint): string | undefined {
  let rest = place;
  for (const range of set) {
    const size = sizeOf(range);
    if (rest < size) {
      const value = range.rangeStart.value + rest;
      const isGateway = set.some(({ gateway }) => gateway.value === value);
      return isGateway ? undefined : formatAddress({ family: range.subnet.base.family, value });
    }
    rest -= size;
  }
  return undefined;
}

/** An address that may be leased, with its place in the set. */
export interface Candidate {
  readonly address: string;
  readonly place: bigint;
}

/** The candidate for one address, undefined if it is not the set's to lease. */
export function candidateFor(set: RangeSet, { family, value }: IpAddress): Candidate | undefined {
  if (set[0]?.subnet.base.family !== family) return undefined;
  const place = placeOf(set, value);
  const address = place === undefined ? undefined : addressAt(set, place);
  return place === undefined || address === undefined ? undefined : { address, place };
}

/** Every leasable address once, from `start` on and around the end. */
export function* candidates(set: RangeSet, start: bigint): Generator<Candidate> {
  const size = poolSize(set);
  for (let step = 0n; step < size; step += 1n) {
    const place = (start + step) % size;
    const address = addressAt(set, place);
    if (address !== undefined) yield { address, place };
  }
}

/** The set without these networks: a range with a hole becomes two, so that looking for an address never walks over one. */
export function excluding(set: RangeSet, holes: readonly IpNetwork[]): RangeSet {
  return holes.reduce<RangeSet>((ranges, hole) => ranges.flatMap((range) => cut(range, hole)), set);
}

function cut(range: AddressRange, { base, prefixLength }: IpNetwork): AddressRange[] {
  const { family } = range.subnet.base;
  if (base.family !== family) return [range];
  const bits = family === 4 ? 32 : 128;
  const last = base.value + (1n << BigInt(bits - prefixLength)) - 1n;
  const below = base.value - 1n < range.rangeEnd.value ? base.value - 1n : range.rangeEnd.value;
  const above = last + 1n > range.rangeStart.value ? last + 1n : range.rangeStart.value;
  const parts = [
    { ...range, rangeEnd: { family, value: below } },
    { ...range, rangeStart: { family, value: above } },
  ];
  if (last < range.rangeStart.value || base.value > range.rangeEnd.value) return [range];
  return parts.filter((part) => part.rangeStart.value <= part.rangeEnd.value);
}
