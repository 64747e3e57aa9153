/** What is particular to pods on a bridge, on the real kernel. Host ports and both families are tested beside the routed ones. */
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { addressIn, type Json, uplink, World } from "./support/cni-world.ts";

let world: World;

beforeAll(async () => {
  expect(process.getuid?.(), "these tests need root").toBe(0);
  world = new World();
  await world.startAgent();
  return () => world.destroy();
});

beforeEach(() => {
  for (const pod of ["p1", "p2"]) world.addNamespace(pod);
});

afterEach(async () => {
  for (const pod of ["p1", "p2"]) {
    for (const name of ["pods", "isolated", "next"]) await world.call("DEL", pod, network({ name }));
    world.removeNamespace(pod);
  }
});

const network = (changes: Json = {}): Json => ({
  ...{ mode: "bridge", bridge: "trbr0", ipam: { ranges: [[{ subnet: "10.90.1.0/24" }]] } },
  ...changes,
});

/** Both the /24 of a bridge and the /32 of a routed link end in a slash. */
const address = (answer: Parameters<typeof addressIn>[0]) => addressIn(answer).replace(/\/.*/, "");
const macOf = (part: string, link: string) =>
  /ether (\S+)/.exec(world.exec(part, "ip", "-o", "link", "show", link))?.[1];

test("the bridge has the gateway, no spanning tree, and a MAC that no port changes", async () => {
  const added = await world.call("ADD", "p1", network());
  const mac = macOf("node", "trbr0");
  await world.call("ADD", "p2", network());
  expect(macOf("node", "trbr0")).toBe(mac);
  expect(world.exec("node", "ip", "-o", "-4", "address", "show", "trbr0")).toContain("10.90.1.1/24");
  expect(world.exec("node", "ip", "-d", "-o", "link", "show", "trbr0")).toContain("stp_state 0");
  expect(world.exec("node", "ip", "-o", "link", "show", "trbr0")).toContain(`mtu ${uplink.mtu} `);
  const { interfaces, ips } = JSON.parse(added.stdout) as { interfaces: Json[]; ips: Json[] };
  expect(interfaces.map(({ name }) => name)).toEqual(["trbr0", expect.stringMatching(/^tv/), "eth0"]);
  expect(ips).toMatchObject([{ address: "10.90.1.2/24", gateway: "10.90.1.1", interface: 2 }]);
});

test("whoever gets an address next is reached at once: the MAC belongs to the address", async () => {
  const only = {
    ipam: { ranges: [[{ subnet: "10.90.1.0/24", rangeStart: "10.90.1.9", rangeEnd: "10.90.1.9" }]] },
  };
  const first = address(await world.call("ADD", "p1", network(only)));
  const mac = macOf("p1", "eth0");
  expect(world.pings("node", first)).toBe(true);
  await world.call("DEL", "p1", network(only));
  expect(address(await world.call("ADD", "p2", network(only)))).toBe(first);
  expect(macOf("p2", "eth0")).toBe(mac);
  expect(world.pings("node", first)).toBe(true);
});

test("a MAC that is asked for is the pod's", async () => {
  await world.call("ADD", "p1", network({ runtimeConfig: { mac: "02:11:22:33:44:55" } }));
  expect(macOf("p1", "eth0")).toBe("02:11:22:33:44:55");
});

test("isolated pods reach the host and the outside, and not each other", async () => {
  const config = network({ name: "isolated", portIsolation: true });
  address(await world.call("ADD", "p1", config));
  const second = address(await world.call("ADD", "p2", config));
  expect(world.pings("p1", second)).toBe(false);
  expect(world.pings("p1", uplink.node)).toBe(true);
  expect(world.pings("p1", uplink.outside)).toBe(true);
});

test("when the node gets another pod network, earlier pods keep theirs, and both reach each other", async () => {
  const first = address(await world.call("ADD", "p1", network()));
  const next = network({ name: "next", ipam: { ranges: [[{ subnet: "10.90.2.0/24" }]] } });
  const second = address(await world.call("ADD", "p2", next));
  expect(world.pings("p1", second)).toBe(true);
  expect(world.pings("p2", first)).toBe(true);
});

describe("what is in the way is refused, with the remedy, and nothing is left", () => {
  const rows: readonly (readonly [string, Json, RegExp])[] = [
    [
      "a network that overlaps one of the bridge's",
      network({ ipam: { ranges: [[{ subnet: "10.90.0.0/16" }]] } }),
      /trbr0 has the address 10\.90\.1\.1\/24, which overlaps.*10\.90\.0\.1\/16.*ip address del/,
    ],
    ["an interface that is no bridge", network({ bridge: "up0" }), /up0 is no bridge/],
    [
      "a gateway that another interface has",
      network({ bridge: "trbr1", ipam: { ranges: [[{ subnet: "198.51.100.0/24", gateway: uplink.node }]] } }),
      /another interface of the host has the address 198\.51\.100\.1/,
    ],
  ];
  test.each(rows)("%s", async (_title, config, message) => {
    address(await world.call("ADD", "p1", network()));
    const before = world.picture().files;
    const refused = await world.call("ADD", "p2", config);
    expect(JSON.parse(refused.stdout)).toMatchObject({ code: 101, msg: expect.stringMatching(message) });
    expect(world.picture().files).toEqual(before);
    expect(world.exec("p2", "ip", "-o", "link")).not.toContain("eth0");
  });
});
