/** What must change so that our routes are those that are wanted. Pure; routes of others do not occur in it at all. */
import type { Route, RouteChange } from "../../host/netlink.ts";

/**
 * The rtm_protocol of our routes (rtnetlink(7)): "T". Numbers from 5 on that no routing daemon has taken belong to whoever
 * uses them; `ip route show proto 84` lists ours.
 */
export const ROUTE_PROTOCOL = 84;

/** A route that should be there, its next hop found to be on that link. */
export interface WantedRoute {
  readonly destination: string;
  readonly prefixLength: number;
  readonly gateway: string;
  readonly linkIndex: number;
}

/** First to be removed, then to be added: a network that moves to another node is both. */
export interface RoutePlan {
  readonly remove: readonly RemovedRoute[];
  readonly add: readonly AddedRoute[];
}

type RemovedRoute = Extract<RouteChange, { op: "route.delete" }>;
type AddedRoute = Extract<RouteChange, { op: "route.add" }> & WantedRoute;

const keyOf = ({ destination, prefixLength, gateway, linkIndex }: Route): string =>
  `${destination}/${prefixLength} ${gateway} ${linkIndex}`;

/** `present` are the routes of our protocol. */
export function planRoutes(wanted: readonly WantedRoute[], present: readonly Route[]): RoutePlan {
  const wantedKeys = new Set(wanted.map(keyOf));
  const presentKeys = new Set(present.map(keyOf));
  return {
    remove: present.flatMap(({ destination, prefixLength, gateway, linkIndex, ...rest }) => {
      const route = { destination, prefixLength, gateway, linkIndex };
      if (wantedKeys.has(keyOf({ ...rest, ...route }))) return [];
      // We make none without these; what has none is not ours, whatever its number says.
      if (gateway === undefined || linkIndex === undefined) return [];
      return [
        { op: "route.delete", destination, prefixLength, gateway, linkIndex, protocol: ROUTE_PROTOCOL },
      ];
    }),
    add: wanted
      .filter((route) => !presentKeys.has(keyOf(route)))
      .map((route) => ({ op: "route.add", ...route, protocol: ROUTE_PROTOCOL })),
  };
}
