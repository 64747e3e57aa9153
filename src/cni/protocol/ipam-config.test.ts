import { describe, expect, test } from "vitest";
import { formatAddress, formatNetwork } from "../ipam/address.ts";
import { parseOwnIpam } from "./ipam-config.ts";
import { createProblems } from "./problems.ts";

function parse(ipam: unknown) {
  const problems = createProblems("test");
  const parsed = parseOwnIpam(ipam, problems);
  problems.throwIfAny();
  return parsed;
}

const set = (...ranges: object[]) => ({ ranges: [ranges] });

describe("what is accepted", () => {
  test("host-local's defaults: first address as gateway, everything between the edges", () => {
    const [[range] = []] = parse(set({ subnet: "10.1.2.0/24" })).rangeSets;
    expect(range && formatNetwork(range.subnet)).toBe("10.1.2.0/24");
    expect(range && [range.rangeStart, range.rangeEnd, range.gateway].map(formatAddress)).toEqual([
      "10.1.2.1",
      "10.1.2.254",
      "10.1.2.1",
    ]);
  });

  test("host-local's older form, with a range directly in ipam", () => {
    const { rangeSets } = parse({ type: "trivet", subnet: "10.1.2.0/24", rangeStart: "10.1.2.9" });
    expect(rangeSets).toHaveLength(1);
    expect(rangeSets[0]?.[0] && formatAddress(rangeSets[0][0].rangeStart)).toBe("10.1.2.9");
  });

  test("routes with and without a gateway", () => {
    const routes = [{ dst: "0.0.0.0/0" }, { dst: "10.0.0.0/8", gw: "169.254.1.1" }];
    const parsed = parse({ ...set({ subnet: "10.1.2.0/24" }), routes }).routes;
    expect(parsed.map(({ gateway }) => gateway)).toEqual([undefined, "169.254.1.1"]);
  });

  test("IPv6 in a set of its own, beside IPv4", () => {
    const { rangeSets } = parse({ ranges: [[{ subnet: "10.1.2.0/24" }], [{ subnet: "fd00:88::/64" }]] });
    const [, [range] = []] = rangeSets;
    expect(range && [range.rangeStart, range.rangeEnd, range.gateway].map(formatAddress)).toEqual([
      "fd00:88::1",
      "fd00:88::ffff:ffff:ffff:fffe",
      "fd00:88::1",
    ]);
  });

  test("two ranges of one subnet that do not overlap", () => {
    const subnet = "10.1.2.0/24";
    const first = { subnet, rangeStart: "10.1.2.10", rangeEnd: "10.1.2.19" };
    const second = { subnet, rangeStart: "10.1.2.20", rangeEnd: "10.1.2.29" };
    expect(parse(set(first, second)).rangeSets[0]).toHaveLength(2);
  });
});

describe("what is refused", () => {
  const subnet = "10.1.2.0/24";
  const refused: readonly (readonly [title: string, kind: string, said: string, ipam: unknown])[] = [
    ["no ipam", "invalid", "ipam is missing", undefined],
    ["no ranges", "invalid", "at least one range", {}],
    [
      "a bound that is outside of its range",
      "invalid",
      "ipam.rangeStart",
      { ...set({ subnet }), rangeStart: "10.1.2.100" },
    ],
    ["empty ranges", "invalid", "at least one range", { ranges: [] }],
    ["an empty set", "invalid", "ipam.ranges[0]", { ranges: [[]] }],
    ["ranges that are no list", "invalid", "ipam.ranges is", { ranges: "10.1.2.0/24" }],
    ["a range without a subnet", "invalid", "ipam.ranges[0][0].subnet is missing", set({})],
    ["host bits", "invalid", "the network is 10.1.2.0/24", set({ subnet: "10.1.2.9/24" })],
    ["a /31", "invalid", "too small", set({ subnet: "10.1.2.0/31" })],
    ["every address there is", "invalid", "0.0.0.0/8", set({ subnet: "0.0.0.0/0" })],
    ["loopback addresses", "invalid", "127.0.0.0/8", set({ subnet: "127.0.0.0/16" })],
    [
      "link-local addresses, the gateway among them",
      "invalid",
      "169.254.0.0/16",
      set({ subnet: "169.254.1.0/24" }),
    ],
    ["multicast addresses", "invalid", "224.0.0.0/4", set({ subnet: "224.0.0.0/24" })],
    ["a start outside", "invalid", "rangeStart", set({ subnet, rangeStart: "10.1.3.1" })],
    ["a broadcast address as end", "invalid", "rangeEnd", set({ subnet, rangeEnd: "10.1.2.255" })],
    ["a gateway that is no address", "invalid", "gateway", set({ subnet, gateway: "first" })],
    [
      "a start behind the end",
      "invalid",
      "behind",
      set({ subnet, rangeStart: "10.1.2.9", rangeEnd: "10.1.2.8" }),
    ],
    ["overlapping ranges", "invalid", "overlap", set({ subnet }, { subnet: "10.1.0.0/16" })],
    ["overlapping sets", "invalid", "overlap", { ranges: [[{ subnet }], [{ subnet }]] }],
    ["a misspelt key", "unsupported", "ipam.ranges[0][0].rangestart", set({ subnet, rangestart: "x" })],
    ["a route without dst", "invalid", "routes[0].dst", { ...set({ subnet }), routes: [{}] }],
    [
      "a route through a gateway that is no host",
      "invalid",
      'ipam.routes[0].gw is "224.0.0.1"',
      { ...set({ subnet }), routes: [{ dst: "10.0.0.0/8", gw: "224.0.0.1" }] },
    ],
    ["routes that are no list", "invalid", "ipam.routes", { ...set({ subnet }), routes: {} }],
    [
      "a key of a route that 1.1.0 added",
      "unsupported",
      "ipam.routes[0].mtu is 1400",
      { ...set({ subnet }), routes: [{ dst: "0.0.0.0/0", mtu: 1400 }] },
    ],
    ["a set of both families", "invalid", "a set holds one family", set({ subnet }, { subnet: "fd00::/64" })],
    ["a /127", "invalid", "/126 is the smallest", set({ subnet: "fd00::/127" })],
    ["link-local IPv6 addresses", "invalid", "fe80::/10", set({ subnet: "fe80::/64" })],
    [
      "a gateway of the other family",
      "invalid",
      "ipam.routes[0].gw",
      { ...set({ subnet }), routes: [{ dst: "::/0", gw: "10.1.2.1" }] },
    ],
  ];

  test.each(refused)("%s", (_title, kind, said, ipam) => {
    let error: unknown;
    try {
      parse(ipam);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject({ kind, message: expect.stringContaining(said) });
  });
});
