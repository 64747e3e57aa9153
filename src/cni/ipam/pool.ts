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

/** Places in the set, those of gateways included. */
export function poolSize(set: RangeSet): bigint {
  return set.reduce((sum, range) => sum + range.rangeEnd.value - range.rangeStart.value + 1n, 0n);
}

/** The address at a place, or undefined where it is a gateway. */
export function addressAt(set: RangeSet, place: bigint): string | undefined {
  let rest = place;
  for (const range of set) {
    const size = range.rangeEnd.value - range.rangeStart.value + 1n;
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

/** Every leasable address once, from `start` on and around the end. */
export function* candidates(set: RangeSet, start: bigint): Generator<Candidate> {
  const size = poolSize(set);
  for (let step = 0n; step < size; step += 1n) {
    const place = (start + step) % size;
    const address = addressAt(set, place);
    if (address !== undefined) yield { address, place };
  }
}
