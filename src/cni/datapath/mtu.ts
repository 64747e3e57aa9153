/** The MTU of a pod's link where the configuration names none. */
import type { RouteConnection } from "../../host/netlink.ts";

/**
 * Globally routed, and nothing routes them more specifically than by default: the IPv4 dummy address (RFC 7600), and an
 * address of a block of IPv6 that is given to nobody, inside 2000::/3, which some routers announce in place of a default route.
 */
const somewhereOutside = { 4: "192.0.0.8", 6: "2000::1" } as const;
/** The smallest link that IPv6 works on (RFC 8200). */
export const MIN_MTU_IPV6 = 1_280;
/** That of Ethernet, for a host with no default route. */
const FALLBACK_MTU = 1500;

/** That of the interface with the default route; of the smaller one, where families differ. One lookup for each: the table may hold a route for each of 5,000 pods. */
export async function findMtu(host: RouteConnection, families: readonly (4 | 6)[]): Promise<number> {
  const found: number[] = [];
  for (const family of new Set([...families, 4, 6] as const)) {
    // A family that the pod has not counts only where the others have no default route.
    if (!families.includes(family) && found.length > 0) continue;
    const route = await host.routeTo(somewhereOutside[family]);
    const link = route?.linkIndex === undefined ? undefined : await host.linkAt(route.linkIndex);
    if (link) found.push(link.mtu);
  }
  return found.length > 0 ? Math.min(...found) : FALLBACK_MTU;
}
