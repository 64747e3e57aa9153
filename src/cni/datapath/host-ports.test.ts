import { describe, expect, test } from "vitest";
import type { PortMapping } from "../protocol/port-mapping.ts";
import { checkHostPorts, describePort, meet, needsLoopback, planHostPorts } from "./host-ports.ts";

const both = ["10.0.0.2", "fd00::2"];
const mapping = (hostIp?: string): PortMapping => ({
  ...{ hostPort: 80, containerPort: 8080, protocol: "tcp" },
  hostIp,
});

const rows: readonly (readonly [string, string | undefined, string[], string[]])[] = [
  [
    "no host address is every address of each family that the pod has",
    undefined,
    both,
    ["10.0.0.2", "fd00::2"],
  ],
  ["of one family where the pod has one", undefined, ["fd00::2"], ["fd00::2"]],
  ["0.0.0.0 is every address of IPv4", "0.0.0.0", both, ["10.0.0.2"]],
  [":: is every address of IPv6", "::", both, ["fd00::2"]],
  ["one address leads to the pod's address of its family", "192.0.2.1", both, ["10.0.0.2"]],
  ["an address of a family that the pod has not leads nowhere", "192.0.2.1", ["fd00::2"], []],
];

test.each(rows)("%s", (_title, hostIp, addresses, podAddresses) => {
  const ports = planHostPorts([mapping(hostIp)], addresses);
  expect(ports.map(({ podAddress }) => podAddress)).toEqual(podAddresses);
  const single = hostIp === "192.0.2.1";
  for (const port of ports) expect(port.hostIp).toBe(single ? hostIp : undefined);
});

describe("checkHostPorts", () => {
  const check = (mappings: readonly PortMapping[], addresses: readonly string[]) => () =>
    checkHostPorts(mappings, planHostPorts(mappings, addresses));

  test("refuses what no address of the pod can serve, and ::1", () => {
    expect(check([mapping("192.0.2.1")], ["fd00::2"])).toThrow(/no address of IPv4/);
    expect(check([mapping("::")], ["10.0.0.2"])).toThrow(/no address of IPv6/);
    expect(check([mapping("::1")], both)).toThrow(/::1/);
  });

  test("refuses two of the pod's own that meet, and takes one that is given twice for one", () => {
    expect(check([mapping(), mapping("192.0.2.1")], both)).toThrow(/which are one/);
    expect(check([mapping("192.0.2.1"), mapping("192.0.2.2")], both)).not.toThrow();
    expect(check([mapping(), mapping("0.0.0.0")], both)).not.toThrow();
  });
});

test("ports meet where a packet could be for both", () => {
  const key = { family: 4, protocol: "tcp", hostPort: 80, hostIp: undefined } as const;
  expect(meet(key, { ...key, hostIp: "192.0.2.1" })).toBe(true);
  expect(meet({ ...key, hostIp: "192.0.2.2" }, { ...key, hostIp: "192.0.2.1" })).toBe(false);
  expect(meet(key, { ...key, protocol: "udp" })).toBe(false);
  expect(meet(key, { ...key, family: 6 })).toBe(false);
  expect(describePort(key)).toBe("tcp port 80 of every address");
});

test.each([
  [undefined, true],
  ["127.0.0.1", true],
  ["127.1.2.3", true],
  ["192.0.2.1", false],
  ["fd00::1", false],
])("the host's loopback network is needed for the host address %s: %s", (hostIp, needed) => {
  expect(needsLoopback(planHostPorts([mapping(hostIp)], both))).toBe(needed);
});
