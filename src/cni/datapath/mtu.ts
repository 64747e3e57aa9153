/** The MTU of a pod's link where the configuration names none. */
import type { RouteConnection } from "../../host/netlink.ts";

/** The IPv4 dummy address (RFC 7600): globally scoped, and nothing routes it more specifically than by default. */
const SOMEWHERE_OUTSIDE = "192.0.0.8";
/** That of Ethernet, for a host with no default route. */
const FALLBACK_MTU = 1500;

/** That of the interface with the default route. One lookup: the table may hold a route for each of 5,000 pods. */
export async function findMtu(host: RouteConnection): Promise<number> {
  const route = await host.routeTo(SOMEWHERE_OUTSIDE);
  const link = route?.linkIndex === undefined ? undefined : await host.linkAt(route.linkIndex);
  return link?.mtu ?? FALLBACK_MTU;
}
