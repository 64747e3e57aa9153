/**
 * The bridge of a network: made where it is missing, with the gateways' addresses. DELs never remove it, since other pods may
 * come to it at any moment, nor the addresses of earlier configurations, which pods may still use.
 */
import { isKind, TrivetError } from "../../errors.ts";
import type { Link, LinkAddress, RouteChange, RouteConnection } from "../../host/netlink.ts";
import { contains, formatNetwork, networkOf, overlap, parseAddress, parseCidr } from "../ipam/address.ts";
import type { AllocatedAddress } from "../ipam/allocate.ts";

interface BridgeOptions {
  readonly name: string;
  /** For a new one. */
  readonly mac: string;
  readonly mtu: number;
  readonly addresses: readonly AllocatedAddress[];
}

/**
 * The bridge, up and with its addresses; `prepare` runs before it gets them. Throws kind `precondition` where something is in
 * the way, and says what.
 */
export async function ensureBridge(
  host: RouteConnection,
  options: BridgeOptions,
  prepare: () => Promise<void>,
): Promise<Link> {
  const { name, mac, mtu, addresses } = options;
  const link = (await host.link(name)) ?? (await makeBridge(host, { name, mac, mtu }));
  if (link.kind !== "bridge") {
    throw inTheWay(name, `the host's interface ${name} is no bridge: choose another name for bridge`);
  }
  const missing = planGateways(name, { present: await host.addresses(link.index), addresses });
  for (const { address } of missing) await refuseOtherLink(host, link, address);
  await prepare();
  const changes: RouteChange[] = [
    ...(link.up ? [] : [{ op: "link.up", name } as const]),
    ...missing.map(
      (address) => ({ op: "address.add", linkIndex: link.index, unlessThere: true, ...address }) as const,
    ),
  ];
  await host.apply(changes);
  return link;
}

async function makeBridge(
  host: RouteConnection,
  { name, mac, mtu }: Pick<BridgeOptions, "name" | "mac" | "mtu">,
): Promise<Link> {
  try {
    const made = await host.applyThenLink([{ op: "bridge.add", name, mac, mtu }], name);
    if (made) return made;
  } catch (error) {
    if (!isKind(error, "conflict")) throw error; // another ADD was first
  }
  const link = await host.link(name);
  if (link) return link;
  throw inTheWay(
    name,
    `the bridge ${name} vanished right after it was made: does another program manage it?`,
  );
}

/** Gateways that the bridge has not yet. */
export function planGateways(
  bridge: string,
  {
    present,
    addresses,
  }: { readonly present: readonly LinkAddress[]; readonly addresses: readonly AllocatedAddress[] },
): LinkAddress[] {
  const wanted = addresses.flatMap(({ gateway, prefixLength }) =>
    gateway === undefined ? [] : [{ address: gateway, prefixLength }],
  );
  return wanted.filter((gateway) => {
    const same = present.find(({ address }) => address === gateway.address);
    if (same?.prefixLength === gateway.prefixLength) return false;
    const other = same ?? present.find((address) => meet(address, gateway));
    if (!other) return true;
    const has = `${other.address}/${other.prefixLength}`;
    const needs = `${gateway.address}/${gateway.prefixLength}`;
    throw inTheWay(
      bridge,
      `the bridge ${bridge} has the address ${has}, which overlaps the gateway ${needs} of this network: give the network a bridge of its own, or, once no pod uses it, run "ip address del ${has} dev ${bridge}"`,
    );
  });
}

function meet(left: LinkAddress, right: LinkAddress): boolean {
  const [one, other] = [left, right].map(({ address, prefixLength }) =>
    parseCidr(`${address}/${prefixLength}`),
  );
  return one !== undefined && other !== undefined && overlap(networkOf(one), networkOf(other));
}

/** The index of the loopback interface, to which every address of the host itself leads. */
const LOOPBACK_INDEX = 1;

async function refuseOtherLink(host: RouteConnection, bridge: Link, gateway: string): Promise<void> {
  const route = await host.routeTo(gateway);
  if (route?.linkIndex !== LOOPBACK_INDEX) return;
  // Another ADD may have given it to the bridge since we looked.
  const present = await host.addresses(bridge.index);
  if (present.some(({ address }) => address === gateway)) return;
  throw inTheWay(
    bridge.name,
    `another interface of the host has the address ${gateway}, which is the gateway of this network: give one of them another subnet`,
  );
}

/** Throws kind `precondition` if an address would have no way out: its gateway lies in another network. */
export function refuseForeignGateways(addresses: readonly AllocatedAddress[]): void {
  for (const { address, prefixLength, gateway } of addresses) {
    const cidr = parseCidr(`${address}/${prefixLength}`);
    const parsed = gateway === undefined ? undefined : parseAddress(gateway);
    if (!cidr || !parsed || contains(networkOf(cidr), parsed)) continue;
    throw inTheWay(
      String(gateway),
      `the gateway ${gateway} is not in ${formatNetwork(networkOf(cidr))}, the network of ${address}`,
    );
  }
}

function inTheWay(subject: string, message: string): TrivetError {
  return new TrivetError({ kind: "precondition", op: "bridge.ensure", subject, message });
}
