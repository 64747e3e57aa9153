import { describe, expect, test } from "vitest";
import { formatAddress } from "../ipam/address.ts";
import { parseArgs } from "./args.ts";
import { parseConfig } from "./netconf.ts";
import type { JsonObject } from "./problems.ts";

const network = {
  cniVersion: "1.0.0",
  name: "pods",
  type: "trivet",
  ipam: { ranges: [[{ subnet: "10.88.0.0/24" }], [{ subnet: "fd00:88::/64" }]] },
};

const parse = (changes: JsonObject, args = "") =>
  parseConfig({ ...network, ...changes }, parseArgs(args).asked);

const requested = (changes: JsonObject, args = "") => {
  const { ipam } = parse(changes, args);
  if (ipam.kind !== "own") throw new Error("delegated");
  return Object.fromEntries([...ipam.requested].map(([set, { address }]) => [set, formatAddress(address)]));
};

describe("portMappings", () => {
  test("as containerd sends them, with the names of a Go structure", () => {
    const portMappings = [
      { HostPort: 8080, ContainerPort: 80, Protocol: "TCP", HostIP: "" },
      { HostPort: 5353, ContainerPort: 53, Protocol: "udp", HostIP: "192.0.2.9" },
      { HostPort: 0, ContainerPort: 9, Protocol: "tcp", HostIP: "" },
    ];
    expect(parse({ runtimeConfig: { portMappings } }).portMappings).toEqual([
      { hostPort: 8080, containerPort: 80, protocol: "tcp", hostIp: undefined },
      { hostPort: 5353, containerPort: 53, protocol: "udp", hostIp: "192.0.2.9" },
    ]);
  });

  test("as the conventions write them; TCP where none is named, IPv6 addresses in canonical form", () => {
    const portMappings = [
      { hostPort: 1, containerPort: 2, hostIP: "fd00:0::1" },
      { hostPort: 1, containerPort: 2, hostIP: "fd00::1" },
      { hostPort: 3, containerPort: 4, protocol: "sctp" },
    ];
    expect(parse({ runtimeConfig: { portMappings } }).portMappings).toEqual([
      { hostPort: 1, containerPort: 2, protocol: "tcp", hostIp: "fd00::1" },
      { hostPort: 3, containerPort: 4, protocol: "sctp", hostIp: undefined },
    ]);
  });
});

describe("addresses and MACs", () => {
  const capability = { runtimeConfig: { ips: ["10.88.0.9/24"], mac: "0A-58-0A-58-00-09" } };
  const args = { args: { cni: { ips: ["10.88.0.8"], mac: "02:00:00:00:00:08" } } };
  const text = "IgnoreUnknown=1;IP=10.88.0.7,fd00:88::7;MAC=02:00:00:00:00:07";

  test("a capability goes over args.cni, and that over CNI_ARGS", () => {
    expect(requested({ ...capability, ...args }, text)).toEqual({ 0: "10.88.0.9" });
    expect(requested(args, text)).toEqual({ 0: "10.88.0.8" });
    expect(requested({}, text)).toEqual({ 0: "10.88.0.7", 1: "fd00:88::7" });
    expect(parse({ ...capability, ...args }, text).mac).toBe("0a:58:0a:58:00:09");
    expect(parse(args, text).mac).toBe("02:00:00:00:00:08");
    expect(parse({}, text).mac).toBe("02:00:00:00:00:07");
    expect(parse({}).mac).toBeUndefined();
  });

  test("empty wishes are none", () => {
    expect(requested({ runtimeConfig: { ips: [], mac: "" } }, text)).toEqual({
      0: "10.88.0.7",
      1: "fd00:88::7",
    });
  });
});

test("ipRanges come before the configured ranges, and may be written as a Go structure", () => {
  const ipRanges = [[{ Subnet: "10.99.0.0/24", RangeStart: "10.99.0.5", RangeEnd: "", Gateway: "" }]];
  const { ipam } = parse({ runtimeConfig: { ipRanges } });
  const starts =
    ipam.kind === "own" ? ipam.rangeSets.map(([range]) => range && formatAddress(range.rangeStart)) : [];
  expect(starts).toEqual(["10.99.0.5", "10.88.0.1", "fd00:88::1"]);
});

test("dns becomes that of the result, and an empty one leaves the configured one", () => {
  const dns = { nameservers: ["192.0.2.53"] };
  const asked = { Servers: ["10.96.0.10"], Searches: ["svc.cluster.local"], Options: ["ndots:5"] };
  expect(parse({ dns, runtimeConfig: { dns: asked } }).dns).toEqual({
    nameservers: ["10.96.0.10"],
    search: ["svc.cluster.local"],
    options: ["ndots:5"],
  });
  expect(parse({ dns, runtimeConfig: { dns: { Servers: [], Searches: null } } }).dns).toEqual(dns);
});

describe("annotations of the pod", () => {
  const runtimeConfig = {
    "io.kubernetes.cri.pod-annotations": {
      "cni.trivet.dev/mtu": "1400",
      "cni.trivet.dev/address": "10.88.0.6, fd00:88::6",
      "cni.trivet.dev/mac": "02:00:00:00:00:06",
      "example.com/other": "x",
    },
  };

  test("are taken as far as the configuration allows them", () => {
    const all = { allowedAnnotations: ["mtu", "address", "mac"], runtimeConfig };
    expect(parse(all)).toMatchObject({ mtu: 1400, mac: "02:00:00:00:00:06" });
    expect(requested(all)).toEqual({ 0: "10.88.0.6", 1: "fd00:88::6" });
  });

  test("are refused by default, each with its name and value", () => {
    expect(() => parse({ runtimeConfig })).toThrow(/cni.trivet.dev\/mtu is "1400".*allowedAnnotations/);
    const some = { allowedAnnotations: ["mtu", "mac"], runtimeConfig };
    expect(() => parse(some)).toThrow(/annotation cni.trivet.dev\/address is "10.88.0.6, fd00:88::6"/);
  });
});

describe("what is refused, with its key, its value and the code's kind", () => {
  const refused: readonly (readonly [title: string, kind: string, said: string, changes: JsonObject])[] = [
    [
      "another plugin's capability",
      "unsupported",
      "runtimeConfig.bandwidth",
      { runtimeConfig: { bandwidth: {} } },
    ],
    ["runtimeConfig that is no object", "invalid", "runtimeConfig is 7", { runtimeConfig: 7 }],
    ["mappings that are no list", "invalid", "portMappings is {}", { runtimeConfig: { portMappings: {} } }],
    ["a mapping that is none", "invalid", "portMappings[0] is 80", { runtimeConfig: { portMappings: [80] } }],
    [
      "a port beyond the last",
      "invalid",
      "portMappings[0].hostPort is 65536",
      { runtimeConfig: { portMappings: [{ hostPort: 65_536, containerPort: 1 }] } },
    ],
    [
      "a protocol that there is not",
      "invalid",
      'portMappings[0].protocol is "icmp"',
      { runtimeConfig: { portMappings: [{ hostPort: 1, containerPort: 1, protocol: "icmp" }] } },
    ],
    [
      "a host address that is none",
      "invalid",
      'portMappings[0].hostIP is "node"',
      { runtimeConfig: { portMappings: [{ hostPort: 1, containerPort: 1, hostIP: "node" }] } },
    ],
    [
      "one host port for two",
      "invalid",
      "asked for twice",
      {
        runtimeConfig: {
          portMappings: [
            { hostPort: 1, containerPort: 1 },
            { hostPort: 1, containerPort: 2 },
          ],
        },
      },
    ],
    ["an address that is none", "invalid", 'runtimeConfig.ips is "x"', { runtimeConfig: { ips: ["x"] } }],
    ["an address outside", "invalid", "no range", { runtimeConfig: { ips: ["10.99.0.1"] } }],
    ["the gateway's address", "invalid", "no range", { runtimeConfig: { ips: ["10.88.0.1"] } }],
    [
      "two addresses of one set",
      "invalid",
      "same range set",
      { runtimeConfig: { ips: ["10.88.0.5", "10.88.0.6"] } },
    ],
    ["a multicast MAC", "invalid", "runtimeConfig.mac", { runtimeConfig: { mac: "01:00:5e:00:00:01" } }],
    ["a MAC that is none", "invalid", 'args.cni.mac is "x"', { args: { cni: { mac: "x" } } }],
    [
      "dns that is no list",
      "invalid",
      "runtimeConfig.dns.servers",
      { runtimeConfig: { dns: { servers: "x" } } },
    ],
    ["an option that is none", "invalid", "allowedAnnotations", { allowedAnnotations: ["sysctl"] }],
    [
      "an MTU that is none",
      "invalid",
      "cni.trivet.dev/mtu",
      {
        allowedAnnotations: ["mtu"],
        runtimeConfig: { "io.kubernetes.cri.pod-annotations": { "cni.trivet.dev/mtu": "big" } },
      },
    ],
    ["an MTU too small for IPv6", "invalid", "IPv6 needs at least 1280", { mtu: 1_000 }],
    ["a bridge in routed mode", "invalid", 'bridge is "br0"', { bridge: "br0" }],
    ["a bridge with a slash", "invalid", 'bridge is "a/b"', { mode: "bridge", bridge: "a/b" }],
    ["a hairpin that is no yes or no", "invalid", "hairpinMode", { mode: "bridge", hairpinMode: "on" }],
  ];

  test.each(refused)("%s", (_title, kind, said, changes) => {
    let error: unknown;
    try {
      parse(changes);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject({ kind, message: expect.stringContaining(said) });
  });
});

test("bridge mode has its defaults, and the names of the reference bridge", () => {
  expect(parse({ mode: "bridge" }).link).toEqual({
    mode: "bridge",
    bridge: "trivet0",
    hairpin: true,
    isolated: false,
  });
  const changed = { mode: "bridge", bridge: "cni0", hairpinMode: false, portIsolation: true };
  expect(parse(changed).link).toEqual({ mode: "bridge", bridge: "cni0", hairpin: false, isolated: true });
});
