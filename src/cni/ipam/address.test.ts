import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  contains,
  formatAddress,
  formatNetwork,
  lastOf,
  networkOf,
  overlap,
  parseAddress,
  parseCidr,
} from "./address.ts";

function network(text: string) {
  const cidr = parseCidr(text);
  if (!cidr) throw new Error(`${text} is no network`);
  return networkOf(cidr);
}

describe("parseAddress", () => {
  test.each([
    "10.1",
    "010.0.0.1",
    "0x0a.0.0.1",
    "10.0.0.256",
    "10.0.0.1/8",
    "",
    "fe80::1%eth0",
    "::g",
    " 10.0.0.1",
  ])("%j is no address", (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });

  test("reads both families", () => {
    expect(parseAddress("10.0.0.1")).toEqual({ family: 4, value: 0x0a00_0001n });
    expect(parseAddress("fd00::1")).toEqual({ family: 6, value: (0xfd00n << 112n) | 1n });
  });

  test("every IPv4 address is written as it was read", () => {
    const octet = fc.integer({ min: 0, max: 255 });
    fc.assert(
      fc.property(fc.tuple(octet, octet, octet, octet), (octets) => {
        const address = parseAddress(octets.join("."));
        expect(address && formatAddress(address)).toBe(octets.join("."));
      }),
    );
  });

  test("every IPv6 address comes back from its text", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }), (value) => {
        expect(parseAddress(formatAddress({ family: 6, value }))).toEqual({ family: 6, value });
      }),
    );
  });
});

describe("networks", () => {
  test.each(["10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/08", "fd00::/129", "/8"])(
    "%j is no network",
    (text) => {
      expect(parseCidr(text)).toBeUndefined();
    },
  );

  test("host bits are cut off", () => {
    expect(formatNetwork(network("10.1.2.3/16"))).toBe("10.1.0.0/16");
    expect(formatNetwork(network("10.1.2.3/0"))).toBe("0.0.0.0/0");
    expect(formatNetwork(network("fd00::1/64"))).toBe("fd00::/64");
  });

  test("the last address is that of the broadcast", () => {
    expect(formatAddress(lastOf(network("10.1.0.0/16")))).toBe("10.1.255.255");
    expect(formatAddress(lastOf(network("10.1.0.5/32")))).toBe("10.1.0.5");
  });

  test("an address of the other family is never inside", () => {
    expect(contains(network("::/0"), { family: 4, value: 1n })).toBe(false);
  });

  test("two networks overlap exactly if one holds the other's first address", () => {
    expect(overlap(network("10.0.0.0/8"), network("10.1.0.0/16"))).toBe(true);
    expect(overlap(network("10.1.0.0/16"), network("10.0.0.0/8"))).toBe(true);
    expect(overlap(network("10.0.0.0/16"), network("10.1.0.0/16"))).toBe(false);
  });
});
