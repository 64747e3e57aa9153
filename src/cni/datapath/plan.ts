/**
 * What a routed pod needs, as lists of changes. Pure. The pod has its address alone on its link and sends everything to a
 * link-local gateway; the host has one route per pod. Neighbour entries on both sides are permanent: no ARP, no proxy.
 */
import type { RouteChange } from "../../host/netlink.ts";
import { bitsOf, formatAddress } from "../ipam/address.ts";
import type { PodRoute } from "../protocol/ipam-config.ts";
import { podGateway } from "./names.ts";

/** IPv4 as a host route. */
export const HOST_PREFIX_LENGTH = bitsOf(4);

/** One end of the pair, once it exists. */
interface LinkEnd {
  readonly index: number;
  readonly mac: string;
}

/** A route as the pod gets it and as the result names it. */
export interface EffectiveRoute {
  readonly destination: string;
  readonly prefixLength: number;
  readonly gateway: string;
}

/** The configured routes, or the default route where there are none; all through the host. */
export function effectiveRoutes(routes: readonly PodRoute[]): EffectiveRoute[] {
  if (routes.length === 0) return [{ destination: "0.0.0.0", prefixLength: 0, gateway: podGateway }];
  return routes.map(({ destination, gateway }) => ({
    destination: formatAddress(destination.base),
    prefixLength: destination.prefixLength,
    gateway: gateway ?? podGateway,
  }));
}

interface PodPlan {
  readonly podLink: LinkEnd;
  readonly hostLink: LinkEnd;
  readonly addresses: readonly string[];
  readonly routes: readonly EffectiveRoute[];
}

/** Inside the pod: addresses first, the routes need them as source. */
export function planPodSide({ podLink, hostLink, addresses, routes }: PodPlan): RouteChange[] {
  const linkIndex = podLink.index;
  const gateways = new Set([podGateway, ...routes.map(({ gateway }) => gateway)]);
  return [
    ...addresses.map((address) => ({
      op: "address.add" as const,
      linkIndex,
      address,
      prefixLength: HOST_PREFIX_LENGTH,
    })),
    // On a link with two ends every gateway is the host, whatever address a configuration gives it.
    ...[...gateways].map((address) => ({
      op: "neighbour.add" as const,
      linkIndex,
      address,
      mac: hostLink.mac,
    })),
  ];
}

/** The routes inside the pod. Where another interface of the pod has one of them already, that one stays. */
export function planPodRoutes({ podLink, routes }: Pick<PodPlan, "podLink" | "routes">): RouteChange[] {
  const linkIndex = podLink.index;
  return [
    { op: "route.add", linkIndex, destination: podGateway, prefixLength: HOST_PREFIX_LENGTH },
    ...routes.map((route) => ({ op: "route.add" as const, linkIndex, ...route })),
  ];
}

/** On the host: the way to the pod. */
export function planHostSide({ hostLink, podLink, addresses }: Omit<PodPlan, "routes">): RouteChange[] {
  return addresses.flatMap((address) => [
    {
      op: "neighbour.add",
      linkIndex: hostLink.index,
      address,
      mac: podLink.mac,
    } as const,
    {
      op: "route.add",
      linkIndex: hostLink.index,
      destination: address,
      prefixLength: HOST_PREFIX_LENGTH,
    } as const,
  ]);
}
