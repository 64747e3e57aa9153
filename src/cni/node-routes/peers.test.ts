import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatNetwork, overlap } from "../ipam/address.ts";
import { formatStaticRoute, parseStaticRoute, routesToPeers, withoutOverlaps } from "./peers.ts";

const show = (routes: readonly Parameters<typeof formatStaticRoute>[0][]) => routes.map(formatStaticRoute);

describe("the routes to other nodes", () => {
  it("lead each network to the address of the same family, and leave this node out", () => {
    const { routes, refused } = routesToPeers(
      [
        { name: "me", podCidrs: ["10.42.0.0/24"], internalIps: ["192.168.1.1"] },
        {
          name: "b",
          podCidrs: ["10.42.1.0/24", "fd00:1::/64"],
          internalIps: ["192.168.1.2", "2001:db8::2", "192.168.9.2"],
        },
      ],
      "me",
    );
    expect(show(routes)).toEqual(["10.42.1.0/24=192.168.1.2", "fd00:1::/64=2001:db8::2"]);
    expect(refused).toEqual([]);
  });

  it.each([
    [["fd00:1::/64"], ["192.168.1.2"], "no InternalIP of IPv6"],
    [["10.42.0.128/25"], ["192.168.1.2"], "overlaps the pod networks of this node"],
    [["192.168.0.0/16"], ["192.168.1.2"], "lies in the network itself"],
    [["0.0.0.0/0"], ["192.168.1.2"], "overlaps the pod networks of this node"],
  ])("%j by way of %j is refused: %s", (podCidrs, internalIps, why) => {
    const me = { name: "me", podCidrs: ["10.42.0.0/24"], internalIps: [] };
    const { routes, refused } = routesToPeers([me, { name: "b", podCidrs, internalIps }], "me");
    expect(routes).toEqual([]);
    expect(refused).toEqual([
      { subject: `${podCidrs[0]} of b`, why: expect.stringContaining(why) as string },
    ]);
  });

  it("of two nodes that claim the same addresses the first by name has them", () => {
    const claim = (name: string, cidr: string, ip: string) => ({ name, podCidrs: [cidr], internalIps: [ip] });
    const nodes = [claim("z", "10.42.1.0/24", "192.168.1.9"), claim("b", "10.42.0.0/16", "192.168.1.2")];
    const { routes, refused } = routesToPeers(nodes, "me");
    expect(show(routes)).toEqual(["10.42.0.0/16=192.168.1.2"]);
    expect(refused[0]).toEqual({ subject: "10.42.1.0/24 of z", why: "it overlaps 10.42.0.0/16 of b" });
  });

  it("never overlap, and each one that is dropped overlaps one that was named before it or is larger", () => {
    const route = fc
      .tuple(fc.nat(15), fc.integer({ min: 24, max: 28 }))
      .map(([third, length]) => parseStaticRoute(`10.0.${third}.0/${length}=192.168.0.1`));
    fc.assert(
      fc.property(fc.array(route, { maxLength: 12 }), (routes) => {
        const { kept, dropped } = withoutOverlaps(routes);
        expect(kept.length + dropped.length).toBe(routes.length);
        for (const [index, left] of kept.entries()) {
          for (const right of kept.slice(index + 1)) {
            expect(overlap(left.destination, right.destination), formatNetwork(left.destination)).toBe(false);
          }
        }
      }),
    );
  });
});

describe("a route of the configuration", () => {
  it.each(["10.42.1.0/24=192.168.1.2", "fd00:1::/64=2001:db8::2"])("%s is read and written back", (text) => {
    expect(formatStaticRoute(parseStaticRoute(text))).toBe(text);
  });

  it.each([
    ["10.42.1.0/24", "it must look like"],
    ["10.42.1.0/24=host", "it must look like"],
    ["10.42.1.0/24=1.2.3.4=5", "it must look like"],
    ["10.42.1.7/24=192.168.1.2", "host bits set: the network is 10.42.1.0/24"],
    ["10.42.1.0/24=2001:db8::2", "different families"],
    ["0.0.0.0/0=192.168.1.2", "a default route"],
    ["192.168.1.0/24=192.168.1.2", "lies in the network itself"],
  ])("%s is refused: %s", (text, why) => {
    expect(() => parseStaticRoute(text)).toThrow(why);
  });
});
