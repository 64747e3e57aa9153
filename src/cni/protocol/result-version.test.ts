import { expect, test } from "vitest";
import { encodeResult } from "./result.ts";
import { toVersion } from "./result-version.ts";
import { supportedVersions } from "./versions.ts";

const newest = {
  cniVersion: "1.1.0",
  interfaces: [{ name: "tv1", mac: "02:00:00:00:00:01", mtu: 1450, socketPath: "/s", pciID: "1" }],
  ips: [
    { address: "10.88.0.2/32", gateway: "169.254.1.1", interface: 0 },
    { address: "fd00::2/128", interface: 0 },
  ],
  routes: [{ dst: "0.0.0.0/0", gw: "169.254.1.1", mtu: 1400, advmss: 1, priority: 2, table: 3, scope: 4 }],
  dns: { nameservers: ["10.96.0.10"] },
  "example.com/more": true,
};

const plain = {
  interfaces: [{ name: "tv1", mac: "02:00:00:00:00:01" }],
  routes: [{ dst: "0.0.0.0/0", gw: "169.254.1.1" }],
  dns: newest.dns,
  "example.com/more": true,
};

test.each(["0.3.1", "0.4.0"] as const)(
  "%s: addresses name their family, and nothing of 1.1.0 is told",
  (cniVersion) => {
    expect(toVersion(newest, cniVersion)).toEqual({
      ...plain,
      cniVersion,
      ips: [
        { version: "4", ...newest.ips[0] },
        { version: "6", ...newest.ips[1] },
      ],
    });
  },
);

test("1.0.0: addresses name no family, and nothing of 1.1.0 is told", () => {
  expect(toVersion(newest, "1.0.0")).toEqual({ ...plain, cniVersion: "1.0.0", ips: newest.ips });
});

test("1.1.0 comes back whole from 1.1.0, and without what older ones do not know from those", () => {
  expect(toVersion(newest, "1.1.0")).toEqual(newest);
  for (const version of ["0.3.1", "0.4.0", "1.0.0"] as const) {
    const back = toVersion(toVersion(newest, version), "1.1.0");
    expect(back).toEqual({ ...plain, cniVersion: "1.1.0", ips: newest.ips });
  }
});

test("0.2.0, with one address of each family: their addresses and routes in lists", () => {
  const old = {
    cniVersion: "0.2.0",
    ip4: { ip: "10.1.0.5/16", gateway: "10.1.0.1", routes: [{ dst: "0.0.0.0/0" }] },
    ip6: { ip: "fd00::5/64" },
    dns: {},
  };
  expect(toVersion(old, "1.0.0")).toEqual({
    cniVersion: "1.0.0",
    ips: [{ address: "10.1.0.5/16", gateway: "10.1.0.1" }, { address: "fd00::5/64" }],
    routes: [{ dst: "0.0.0.0/0" }],
    dns: {},
  });
});

test.each(supportedVersions)("a prevResult of any version is extended in the form of %s", (cniVersion) => {
  for (const from of supportedVersions) {
    const attached = {
      bridge: { name: "trivet0", mac: "02:00:00:00:00:0b" },
      hostLink: { name: "tv2", mac: "02:00:00:00:00:02", mtu: 1400 },
      podLink: { name: "eth1", mac: "02:00:00:00:00:03", netns: "/run/netns/a", mtu: 1400 },
      addresses: [{ address: "10.88.0.3", prefixLength: 24, gateway: undefined }],
      routes: [{ dst: "10.0.0.0/8" }],
    };
    const prevResult = toVersion(newest, from);
    const result = JSON.parse(encodeResult({ cniVersion, attached, dns: undefined, prevResult }));
    expect(result.cniVersion).toBe(cniVersion);
    expect(result.interfaces.map(({ name }: { name: string }) => name)).toEqual([
      "tv1",
      "trivet0",
      "tv2",
      "eth1",
    ]);
    expect(result.ips.map((ip: { interface: number }) => ip.interface)).toEqual([0, 0, 3]);
    const old = cniVersion < "1";
    expect(result.ips.every((ip: object) => "version" in ip === old)).toBe(true);
    expect("mtu" in result.interfaces[3]).toBe(cniVersion === "1.1.0");
    expect(result.dns).toEqual(newest.dns);
    expect(result["example.com/more"]).toBe(true);
  }
});
