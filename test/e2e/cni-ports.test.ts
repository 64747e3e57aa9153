/** Host ports on the real kernel: real traffic of both families and of TCP and UDP, from everywhere that can reach them. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createCniDeps } from "../../src/commands/host.ts";
import {
  addIpv6Uplink,
  addressesIn,
  ask,
  askAll,
  listen,
  type Server,
  sctpArrival,
} from "./support/cni-traffic.ts";
import { type CniAnswer, type Json, uplink, World } from "./support/cni-world.ts";

let world: World;
let six: { node: string; outside: string };

beforeAll(async () => {
  expect(process.getuid?.(), "these tests need root").toBe(0);
  world = new World();
  six = addIpv6Uplink(world);
  for (const pod of ["p1", "p2", "p3"]) world.addNamespace(pod);
  await world.startAgent();
  return () => world.destroy();
});

const mappings = [
  { hostPort: 8080, containerPort: 80, protocol: "tcp" },
  { hostPort: 5353, containerPort: 53, protocol: "udp" },
  { hostPort: 8081, containerPort: 81, protocol: "tcp", hostIP: uplink.node },
  { hostPort: 3868, containerPort: 3869, protocol: "sctp" },
];

const network = (mode: string, portMappings: readonly object[] = []): Json => ({
  ...{ name: mode, mode, runtimeConfig: { portMappings } },
  ipam: { ranges: [[{ subnet: "10.88.0.0/24" }], [{ subnet: "fd00:88::/64" }]] },
  ...(mode === "bridge" && {
    bridge: "trbr0",
    ipam: { ranges: [[{ subnet: "10.89.0.0/24" }], [{ subnet: "fd00:89::/64" }]] },
  }),
});

const rules = () => world.exec("node", "nft", "list", "table", "inet", "trivet");

/** Two kinds of bridges: the kernel passes bridged packets through its hooks, or it does not. */
const kinds = [
  ["routed", "0"],
  ["bridge", "0"],
  ["bridge", "1"],
] as const;

describe.each(kinds)("a pod with host ports, %s, br_netfilter %s", (mode, netfilter) => {
  let first: { four: string; six: string };
  let result: Json;
  let servers: Server[];
  let tcp: Server;

  beforeAll(async () => {
    const own = ["iptables", "ip6tables"].map((name) => `net.bridge.bridge-nf-call-${name}=${netfilter}`);
    world.exec("node", "busybox", "sysctl", "-qw", ...own);
    const added = await world.call("ADD", "p1", network(mode, mappings));
    first = addressesIn(added);
    result = JSON.parse(added.stdout) as Json;
    addressesIn(await world.call("ADD", "p2", network(mode)));
    tcp = await listen(world, "p1", { protocol: "tcp", port: 80 });
    const udp = await listen(world, "p1", { protocol: "udp", port: 53 });
    servers = [tcp, udp, await listen(world, "p1", { protocol: "tcp", port: 81 })];
  });

  afterAll(async () => {
    for (const server of servers) await server.stop();
    for (const pod of ["p1", "p2"]) {
      expect(await world.call("DEL", pod, network(mode))).toMatchObject({ exitCode: 0, stdout: "" });
    }
    expect(rules()).not.toMatch(/10\.8[89]\.0\.\d+ \. |tcp \. 8080/);
  });

  test.each([
    ["the outside", "out"],
    ["the host", "node"],
    ["another pod", "p2"],
    ["itself", "p1"],
  ])("is reached from %s, over TCP and UDP, IPv4 and IPv6", (_title, from) => {
    const questions = [
      ...[uplink.node, six.node].flatMap((address) => [
        { protocol: "tcp", address, port: 8080 } as const,
        { protocol: "udp", address, port: 5353 } as const,
      ]),
      { protocol: "tcp", address: uplink.node, port: 8081 } as const,
    ];
    expect(askAll(world, from, questions)).toEqual(questions.map(() => "p1"));
  });

  test("is reached over SCTP, and sees who asks", async () => {
    const port = { address: uplink.node, port: 3868 };
    expect(await sctpArrival(world, { from: "out", to: "p1", ...port })).toBe(`${uplink.outside} 3869`);
  });

  test("is reached by the host's 127.0.0.1, and no pod and nobody outside reaches what listens there", async () => {
    expect(ask(world, "node", { protocol: "tcp", address: "127.0.0.1", port: 8080 })).toBe("p1");
    expect(ask(world, "node", { protocol: "udp", address: "127.0.0.1", port: 5353 })).toBe("p1");
    const secret = await listen(world, "node", { protocol: "tcp", port: 7000 });
    // As a pod with CAP_NET_ADMIN would try it.
    world.exec("p1", "ip", "address", "del", "127.0.0.1/8", "dev", "lo");
    world.exec("p1", "ip", "route", "add", "127.0.0.1", "dev", "eth0", "src", first.four);
    if (mode === "routed") {
      const mac = world.exec("p1", "ip", "neigh", "show", "169.254.1.1").split(" ")[4] ?? "";
      world.exec("p1", "ip", "neigh", "add", "127.0.0.1", "lladdr", mac, "dev", "eth0");
    } else {
      const shown = world.exec("node", "ip", "-o", "link", "show", "trbr0");
      const mac = /ether (\S+)/.exec(shown)?.[1] ?? "";
      world.exec("p1", "ip", "neigh", "replace", "127.0.0.1", "lladdr", mac, "dev", "eth0");
    }
    world.exec("p1", "busybox", "sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1");
    expect(ask(world, "p1", { protocol: "tcp", address: "127.0.0.1", port: 7000, waitMs: 700 })).toBe("");
    await secret.stop();
    expect(secret.clients).toEqual([]);
    world.exec("p1", "busybox", "sysctl", "-qw", "net.ipv4.conf.all.route_localnet=0");
    world.exec("p1", "ip", "neigh", "del", "127.0.0.1", "dev", "eth0");
    world.exec("p1", "ip", "route", "del", "127.0.0.1", "dev", "eth0");
    world.exec("p1", "ip", "address", "add", "127.0.0.1/8", "dev", "lo");
  });

  test("sees the addresses of who asks from outside, not the node's", async () => {
    const earlier = tcp.clients.length;
    ask(world, "out", { protocol: "tcp", address: uplink.node, port: 8080 });
    ask(world, "out", { protocol: "tcp", address: six.node, port: 8080 });
    await expect.poll(() => tcp.clients.slice(earlier).slice(-2)).toEqual([uplink.outside, six.outside]);
  });

  test("is not reached by an address of the host for which there is no mapping", () => {
    const question = { protocol: "tcp", address: six.node, port: 8081, waitMs: 500 } as const;
    expect(ask(world, "out", question)).toBe("");
  });

  test("keeps its ports: another pod is refused with the pod's name, and takes nothing", async () => {
    for (const [hostIP, taken] of [
      [undefined, 8080],
      ["192.0.2.77", 8080],
      [undefined, 8081],
      [uplink.node, 8081],
    ] as const) {
      const wanted = [{ hostPort: taken, containerPort: 80, protocol: "TCP", hostIP }];
      const refused = await world.call("ADD", "p3", network(mode, wanted));
      expect(JSON.parse(refused.stdout), String(hostIP)).toMatchObject({
        code: 100,
        msg: expect.stringMatching(new RegExp(`port ${taken} .* pod default/p1`)),
      });
    }
    expect(ask(world, "out", { protocol: "tcp", address: uplink.node, port: 8080 })).toBe("p1");
    expect(world.picture().files.filter((path) => path.includes("p3"))).toEqual([]);
  });

  test("shares a port with a pod that has it on another address of the host", async () => {
    const wanted = [{ hostPort: 8081, containerPort: 80, hostIP: six.node }];
    addressesIn(await world.call("ADD", "p3", network(mode, wanted)));
    const server = await listen(world, "p3", { protocol: "tcp", port: 80 });
    expect(ask(world, "out", { protocol: "tcp", address: six.node, port: 8081 })).toBe("p3");
    expect(ask(world, "out", { protocol: "tcp", address: uplink.node, port: 8081 })).toBe("p1");
    await server.stop();
    await world.call("DEL", "p3", network(mode));
    expect(ask(world, "out", { protocol: "tcp", address: uplink.node, port: 8081 })).toBe("p1");
  });

  test("passes CHECK, and fails it without one of its elements", async () => {
    const check = () => world.call("CHECK", "p1", { ...network(mode, mappings), prevResult: result });
    expect(await check()).toMatchObject({ exitCode: 0, stdout: "" });
    const element = ["element", "inet", "trivet", "ports4"];
    world.exec("node", "nft", "delete", ...element, "{ tcp . 8080 }");
    expect((await check()).stdout).toContain("tcp port 8080 of every address does not lead to the pod");
    world.exec("node", "nft", "add", ...element, `{ tcp . 8080 : ${first.four} . 80 }`);
  });

  test("has its ports back with the next ADD after somebody flushed all rules", async () => {
    world.exec("node", "nft", "flush", "ruleset");
    addressesIn(await world.call("ADD", "p3", { ...network(mode) }));
    expect(
      askAll(world, "out", [
        { protocol: "tcp", address: uplink.node, port: 8080 },
        { protocol: "udp", address: six.node, port: 5353 },
      ]),
    ).toEqual(["p1", "p1"]);
    await world.call("DEL", "p3", network(mode));
  });
});

test("rules that somebody flushed come back without an ADD", async () => {
  const config = network("routed", mappings);
  addressesIn(await world.call("ADD", "p1", config));
  const ruleset = () => world.exec("node", "nft", "list", "ruleset");
  world.exec("node", "nft", "flush", "ruleset");
  expect(ruleset()).toBe("");
  await expect.poll(ruleset, { timeout: 10_000 }).toContain("tcp . 8080 : ");
  expect(ruleset()).toContain('iifname != "lo" ip daddr 127.0.0.0/8 drop');
  await world.call("DEL", "p1", config);
});

test("a UDP client that never changes its port follows the port from pod to pod", async () => {
  const port = [{ hostPort: 5353, containerPort: 53, protocol: "udp" }];
  const question = { protocol: "udp", address: uplink.node, port: 5353, localPort: 40_000 } as const;
  const config = network("routed", port);
  // Before there is any pod: the kernel tracks a connection to the host itself.
  expect(ask(world, "out", { ...question, waitMs: 200 })).toBe("");
  for (const pod of ["p1", "p2"]) {
    addressesIn(await world.call("ADD", pod, config));
    const server = await listen(world, pod, { protocol: "udp", port: 53 });
    expect(ask(world, "out", question)).toBe(pod);
    await server.stop();
    await world.call("DEL", pod, config);
  }
});

test.each([
  ["::1", /::1 cannot lead to a pod/],
  ["fd00::5", /no address of IPv6/],
])("the host address %s is refused where it cannot work", async (hostIP, why) => {
  const config = {
    ...network("routed", [{ hostPort: 8080, containerPort: 80, hostIP }]),
    ...(hostIP === "::1" ? {} : { ipam: { ranges: [[{ subnet: "10.88.0.0/24" }]] } }),
  };
  const { stdout } = await world.call("ADD", "p1", config);
  expect(JSON.parse(stdout)).toMatchObject({ code: 7, msg: expect.stringMatching(why) });
});

test("rules of others stay as they are, and ADDs without ports and masquerade make no rules", async () => {
  const other = new World();
  try {
    other.exec("node", "nft", "add", "table", "inet", "other");
    other.addNamespace("p1");
    const call = async (command: string, config: Json): Promise<CniAnswer> => {
      const answer = await other.spawnPlugin(command, "p1", config);
      expect(answer.exitCode, answer.stdout).toBe(0);
      return answer;
    };
    const plain = { ...network("routed"), ipMasq: false };
    await call("ADD", plain);
    await call("DEL", plain);
    expect(other.exec("node", "nft", "list", "ruleset").trim()).toMatch(/^table inet other \{\s*\}$/);
    await call("ADD", network("routed", mappings));
    await call("DEL", network("routed", mappings));
    expect(other.exec("node", "nft", "list", "table", "inet", "other")).toMatch(
      /^table inet other \{\s*\}$/m,
    );
  } finally {
    await other.destroy();
  }
});

test("this process has forgotten nothing of the machine's own connections", async () => {
  // A filter that no packet meets: the request is understood, and deletes nothing.
  const { conntrack } = await createCniDeps();
  const filter = { family: 4, protocol: "sctp", destinationPort: 1, destination: "192.0.2.1" } as const;
  expect(await conntrack.forget([filter])).toBe(0);
});
