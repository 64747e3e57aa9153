/** Pods with addresses of both families, or of IPv6 alone, on the real kernel: routed, and on a bridge. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { addIpv6Uplink, addressesIn, ask, listen, passesWhole } from "./support/cni-traffic.ts";
import { uplink, World } from "./support/cni-world.ts";

let world: World;
let outside6: string;
let before: ReturnType<World["picture"]>;

const ranges = [[{ subnet: "10.88.0.0/24" }], [{ subnet: "fd00:88::/64" }]];

beforeAll(async () => {
  expect(process.getuid?.(), "these tests need root").toBe(0);
  world = new World();
  outside6 = addIpv6Uplink(world).outside;
  for (const pod of ["p1", "p2"]) world.addNamespace(pod);
  world.exec("p2", "busybox", "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1");
  world.exec("node", "busybox", "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1");
  before = world.picture();
  await world.startAgent();
  return () => world.destroy();
});

const network = (mode: "routed" | "bridge") => ({
  ...{ name: mode, mode, ipam: { ranges } },
  ...(mode === "bridge"
    ? { bridge: "trbr0", ipam: { ranges: [[{ subnet: "10.89.0.0/24" }], [{ subnet: "fd00:89::/64" }]] } }
    : {}),
});

describe.each(["routed", "bridge"] as const)("two pods, %s, one of which had IPv6 switched off", (mode) => {
  const config = network(mode);
  let first: { four: string; six: string };
  let second: { four: string; six: string };
  let result: Record<string, unknown>;

  beforeAll(async () => {
    const added = await world.call("ADD", "p1", config);
    first = addressesIn(added);
    result = JSON.parse(added.stdout) as Record<string, unknown>;
    second = addressesIn(await world.call("ADD", "p2", config));
  });

  afterAll(async () => {
    for (const pod of ["p1", "p2"])
      expect(await world.call("DEL", pod, config)).toMatchObject({ exitCode: 0 });
  });

  test("have addresses that are usable at once, and no two alike", () => {
    const shown = world.exec("p1", "ip", "-6", "-o", "address", "show", "eth0", "scope", "global");
    expect(shown).toContain(first.six);
    expect(shown).not.toContain("tentative");
    expect(first.six).toMatch(mode === "routed" ? /^fd00:88::/ : /^fd00:89::/);
    expect(second.six).not.toBe(first.six);
  });

  test("reach each other, the host and the outside, and are reached by the host, with both families", () => {
    for (const [from, to] of [
      ["p1", second.four],
      ["p1", second.six],
      ["p2", first.six],
      ["node", first.four],
      ["node", second.six],
      ["p1", uplink.node],
      ["p1", uplink.outside],
      ["p2", outside6],
    ] as const) {
      expect(world.pings(from, to), `${from} to ${to}`).toBe(true);
    }
  });

  test("are seen as the node by the outside, and as themselves by each other", async () => {
    const far = await listen(world, "out", { protocol: "tcp", port: 9000 });
    expect(ask(world, "p1", { protocol: "tcp", address: outside6, port: 9000 })).toBe("out");
    await expect.poll(() => far.clients).toEqual(["2001:db8:51::1"]);
    await far.stop();
    const near = await listen(world, "p2", { protocol: "tcp", port: 9000 });
    expect(ask(world, "p1", { protocol: "tcp", address: second.six, port: 9000 })).toBe("p2");
    await expect.poll(() => near.clients).toEqual([first.six]);
    await near.stop();
  });

  test("send packets of the uplink's MTU unbroken, and no larger ones", async () => {
    const port = 9002;
    const far = await listen(world, "out", { protocol: "udp", port });
    const passing = [uplink.outside, outside6].flatMap((address) =>
      [uplink.mtu, uplink.mtu + 1].map((size) => passesWhole(world, "p1", { address, port, size })),
    );
    await far.stop();
    expect(passing).toEqual([true, false, true, false]);
  });

  test("reach themselves by both loopback addresses", () => {
    for (const address of ["127.0.0.1", "::1"]) expect(world.pings("p2", address)).toBe(true);
  });

  test("pass CHECK, and fail it for what is taken away of IPv6", async () => {
    const check = () => world.call("CHECK", "p1", { ...config, prevResult: result });
    expect(await check()).toMatchObject({ exitCode: 0, stdout: "" });
    world.exec("p1", "ip", "-6", "route", "del", "default");
    expect((await check()).stdout).toContain("lacks the route ::/0");
    if (mode === "routed") {
      world.exec("p1", "ip", "neigh", "del", "fe80::1", "dev", "eth0");
      world.exec("node", "ip", "-6", "route", "del", `${first.six}/128`);
      const { stdout } = await check();
      expect(stdout).toContain("neighbour entry for its gateway fe80::1");
      expect(stdout).toContain(`does not route ${first.six}`);
    } else {
      world.exec("node", "bridge", "link", "set", "dev", hostLinkOf(result), "hairpin", "off");
      expect((await check()).stdout).toContain("not in hairpin mode");
    }
  });
});

function hostLinkOf({ interfaces }: Record<string, unknown>): string {
  return (interfaces as { name: string }[]).find(({ name }) => name.startsWith("tv"))?.name ?? "";
}

test("a pod of IPv6 alone reaches the outside", async () => {
  const config = { name: "six", ipam: { ranges: [[{ subnet: "fd00:66::/112" }]] } };
  addressesIn(await world.call("ADD", "p1", config));
  expect(world.pings("p1", outside6)).toBe(true);
  expect(world.exec("p1", "ip", "-4", "route")).toBe("");
  await world.call("DEL", "p1", config);
});

test("a pod gets both addresses or none: where one pool is exhausted, the other keeps its address", async () => {
  const narrow = [{ subnet: "fd00:99::/64", rangeStart: "fd00:99::2", rangeEnd: "fd00:99::2" }];
  const config = { name: "narrow", ipam: { ranges: [[{ subnet: "10.99.0.0/24" }], narrow] } };
  expect(addressesIn(await world.call("ADD", "p1", config)).six).toBe("fd00:99::2");
  const refused = await world.call("ADD", "p2", config);
  expect(refused.exitCode).toBe(1);
  expect(world.picture().files.filter((path) => path.includes("narrow/leases"))).toHaveLength(2);
  await world.call("DEL", "p1", config);
});

test("an MTU that is too small for IPv6 is refused, with the reason", async () => {
  const { stdout } = await world.call("ADD", "p1", { ...network("routed"), mtu: 1279 });
  expect(JSON.parse(stdout)).toMatchObject({ code: 7, msg: expect.stringMatching(/1279.*1280/) });
});

test("a default route that a router announced stays while the host forwards", async () => {
  const other = new World();
  try {
    other.exec("node", "ip", "-6", "address", "add", "2001:db8:52::1/64", "dev", "up0", "nodad");
    const announced = ["default", "via", "fe80::99", "dev", "up0", "proto", "ra"];
    other.exec("node", "ip", "-6", "route", "add", ...announced);
    other.addNamespace("p1");
    const added = await other.spawnPlugin("ADD", "p1", network("routed"));
    expect(added.exitCode, added.stdout).toBe(0);
    expect(other.exec("node", "busybox", "sysctl", "-n", "net.ipv6.conf.all.forwarding").trim()).toBe("1");
    expect(other.exec("node", "busybox", "sysctl", "-n", "net.ipv6.conf.up0.accept_ra").trim()).toBe("2");
    expect(other.exec("node", "ip", "-6", "route", "show", "default")).toContain("fe80::99");
    await other.spawnPlugin("DEL", "p1", network("routed"));
  } finally {
    await other.destroy();
  }
});

test("nothing is left but the bridge", () => {
  const after = world.picture();
  expect(after.files).toEqual(before.files);
  expect(after.links.split("\n").filter((line) => line.includes("tv"))).toEqual([]);
  expect(world.exec("node", "ip", "-6", "route")).not.toMatch(/dev tv/);
  expect(world.exec("node", "ip", "-6", "neigh", "show", "nud", "permanent")).not.toMatch(/dev tv/);
});
