/**
 * What a pod's link needs, as lists of changes. Pure. A routed pod has its address alone on its link and sends everything to
 * a link-local gateway; the host has one route per address; neighbour entries on both sides are permanent: no ARP, no
 * neighbour discovery, no proxy. A bridged pod has an address of the subnet, and finds its gateway on the bridge.
 */
import type { RouteChange } from "../../host/netlink.ts";
import { bitsOf, formatAddress } from "../ipam/address.ts";
import type { AllocatedAddress } from "../ipam/allocate.ts";
import type { PodRoute } from "../protocol/ipam-config.ts";
import type { LinkMode } from "../protocol/link-mode.ts";
import { podGateways } from "./names.ts";

/** One end of the pair, once it exists. */
interface LinkEnd {
  readonly index: number;
  readonly mac: string;
}

/** A route as the pod gets it and as the result names it. Without a gateway the destination is on the link. */
export interface EffectiveRoute {
  readonly destination: string;
  readonly prefixLength: number;
  readonly gateway: string | undefined;
}

/** The addresses as the pod has them: alone on a routed link, in their subnet on a bridge. With their gateways. */
export function effectiveAddresses(
  mode: LinkMode["mode"],
  addresses: readonly AllocatedAddress[],
): AllocatedAddress[] {
  if (mode === "bridge") return [...addresses];
  return addresses.map((address) => ({
    ...address,
    prefixLength: bitsOf(address.family),
    gateway: podGateways[address.family],
  }));
}

const everywhere = { 4: "0.0.0.0", 6: "::" } as const;

/** The configured routes, or where there are none the default route of each family that has a gateway. */
export function effectiveRoutes(
  routes: readonly PodRoute[],
  addresses: readonly AllocatedAddress[],
): EffectiveRoute[] {
  const gatewayOf = (family: 4 | 6) =>
    addresses.find((address) => address.family === family && address.gateway !== undefined)?.gateway;
  if (routes.length > 0) {
    return routes.map(({ destination, gateway }) => ({
      destination: formatAddress(destination.base),
      prefixLength: destination.prefixLength,
      gateway: gateway ?? gatewayOf(destination.base.family),
    }));
  }
  const families = [...new Set(addresses.map(({ family }) => family))];
  return families.flatMap((family) => {
    const gateway = gatewayOf(family);
    return gateway === undefined ? [] : [{ destination: everywhere[family], prefixLength: 0, gateway }];
  });
}

/** As results and records name it. */
export function describeRoute({ destination, prefixLength, gateway }: EffectiveRoute) {
  return { dst: `${destination}/${prefixLength}`, ...(gateway !== undefined && { gw: gateway }) };
}

interface PodPlan {
  readonly mode: LinkMode["mode"];
  readonly podLink: LinkEnd;
  readonly hostLink: LinkEnd;
  /** As `effectiveAddresses` gives them. */
  readonly addresses: readonly AllocatedAddress[];
  readonly routes: readonly EffectiveRoute[];
}

/** Inside the pod: addresses before routes, which need them as source. A route of another interface of the pod stays. */
export function planPodSide({ mode, podLink, hostLink, addresses, routes }: PodPlan): RouteChange[] {
  const linkIndex = podLink.index;
  const withAddress = addresses.map(
    ({ address, prefixLength }): RouteChange => ({ op: "address.add", linkIndex, address, prefixLength }),
  );
  const withRoutes = routes.map(
    ({ destination, prefixLength, gateway }): RouteChange => ({
      ...{ op: "route.add", linkIndex, destination, prefixLength, unlessThere: true },
      ...(gateway !== undefined && { gateway }),
    }),
  );
  if (mode === "bridge") return [...withAddress, ...withRoutes];
  const hosts = new Set([...addresses, ...routes].flatMap(({ gateway }) => gateway ?? []));
  const mac = hostLink.mac;
  return [
    ...withAddress,
    // On a link with two ends every gateway is the host, whatever address a configuration gives it.
    ...[...hosts].map((address): RouteChange => ({ op: "neighbour.add", linkIndex, address, mac })),
    // Of IPv6 every link has a route to link-local addresses anyway.
    ...(addresses.some(({ family }) => family === 4) ? [routeToGateway4(linkIndex)] : []),
    ...withRoutes,
  ];
}

function routeToGateway4(linkIndex: number): RouteChange {
  const destination = podGateways[4];
  return { op: "route.add", linkIndex, destination, prefixLength: bitsOf(4), unlessThere: true };
}

/** On the host: the way to a routed pod. */
export function planHostSide({
  hostLink,
  podLink,
  addresses,
}: Pick<PodPlan, "hostLink" | "podLink" | "addresses">): RouteChange[] {
  const linkIndex = hostLink.index;
  return addresses.flatMap(({ address, family }) => [
    { op: "neighbour.add", linkIndex, address, mac: podLink.mac } as const,
    { op: "route.add", linkIndex, destination: address, prefixLength: bitsOf(family) } as const,
  ]);
}
