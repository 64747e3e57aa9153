import { describe, expect, it } from "vitest";
import { freeSubnet } from "./subnet.ts";

const header = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT";
const route = (destination: string, mask: string) =>
  `eth0\t${destination}\t00000000\t1\t0\t0\t0\t${mask}\t0\t0\t0`;
const defaultRoute = route("00000000", "00000000");

describe("the demo's subnet", () => {
  it("does not mind the default route", () => {
    expect(freeSubnet([header, defaultRoute].join("\n"))).toBe("10.190.7.0/24");
  });

  it.each([
    ["the same network", "0007BE0A", "00FFFFFF"],
    ["a network around it", "0000BE0A", "0000FFFF"],
    ["a host in it", "0907BE0A", "FFFFFFFF"],
  ])("avoids %s", (_, destination, mask) => {
    expect(freeSubnet([header, route(destination, mask)].join("\n"))).toBe("10.191.7.0/24");
  });

  it("is undefined where all of 10/8 is taken", () => {
    expect(freeSubnet([header, route("0000000A", "000000FF")].join("\n"))).toBeUndefined();
  });
});
