/** Two nodes on one link, each a network namespace: their pods reach one another by routes that follow an API server's nodes. */
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { keepNodeRoutes, type NodeRoutes } from "../../src/cni/node-routes/keeper.ts";
import { routesToPeers } from "../../src/cni/node-routes/peers.ts";
import { createClock } from "../../src/host/clock.ts";
import { createNetlink } from "../../src/host/netlink.ts";
import { createNetns, type NetnsHandle } from "../../src/host/netns.ts";
import { createSyscalls } from "../../src/host/syscall.ts";
import { type ApiClient, createApiClient } from "../../src/kube/api-client.ts";
import { type NodeWatch, watchNodes } from "../../src/kube/node-watch.ts";
import { silentLog } from "../../src/observe/log.ts";
import { type FakeApiServer, startFakeApiServer } from "../fakes/kube/api-server.ts";
import { ip } from "./support/cni-world.ts";

const prefix = `trivet-routes-${process.pid}`;
const name = (part: string) => `${prefix}-${part}`;
const inside = (part: string, ...argv: string[]) => ip("netns", "exec", name(part), ...argv);
const show = (part: string, family = "-4") =>
  inside(part, "ip", family, "route", "show", "proto", "84").trim();

interface TestNode {
  readonly part: "n1" | "n2";
  readonly pod: string;
  readonly v4: string;
  readonly v6: string;
  readonly podCIDRs: readonly [string, string];
  readonly pods: readonly [string, string];
}
const nodes: readonly TestNode[] = [
  {
    ...{ part: "n1", pod: "p1", v4: "192.0.2.1", v6: "2001:db8::1" },
    ...{ podCIDRs: ["10.42.1.0/24", "fd00:1::/64"], pods: ["10.42.1.2", "fd00:1::2"] },
  },
  {
    ...{ part: "n2", pod: "p2", v4: "192.0.2.2", v6: "2001:db8::2" },
    ...{ podCIDRs: ["10.42.2.0/24", "fd00:2::/64"], pods: ["10.42.2.2", "fd00:2::2"] },
  },
];

/** A node with one pod on a routed link, as our plugin makes it. */
function makeNode({ part, pod, v4, v6, pods }: TestNode): void {
  inside(part, "ip", "address", "add", `${v4}/24`, "dev", "up0");
  inside(part, "ip", "address", "add", `${v6}/64`, "dev", "up0", "nodad");
  inside(part, "ip", "link", "set", "up0", "up");
  for (const key of ["ipv4.ip_forward", "ipv6.conf.all.forwarding"])
    inside(part, "busybox", "sysctl", "-qw", `net.${key}=1`);
  inside(part, "ip", "link", "add", "tv0", "type", "veth", "peer", "name", "eth0", "netns", name(pod));
  inside(part, "ip", "address", "add", "169.254.1.1/32", "dev", "tv0");
  inside(part, "ip", "address", "add", "fe80::1/64", "dev", "tv0", "nodad");
  inside(part, "ip", "link", "set", "tv0", "up");
  for (const address of pods) inside(part, "ip", "route", "add", address, "dev", "tv0");
  inside(pod, "ip", "link", "set", "eth0", "up");
  inside(pod, "ip", "address", "add", `${pods[0]}/32`, "dev", "eth0");
  inside(pod, "ip", "address", "add", `${pods[1]}/128`, "dev", "eth0", "nodad");
  inside(pod, "ip", "route", "add", "default", "via", "169.254.1.1", "dev", "eth0", "onlink");
  inside(pod, "ip", "-6", "route", "add", "default", "via", "fe80::1", "dev", "eth0");
}

function pings(address: string): boolean {
  try {
    inside("p1", "busybox", "ping", "-c", "1", "-W", "2", address);
    return true;
  } catch {
    return false;
  }
}

/** What `trivet node` runs, in the namespace of one node. */
interface Agent {
  readonly routes: NodeRoutes;
  readonly watch: NodeWatch;
  readonly client: ApiClient;
  readonly handle: NetnsHandle;
}

let server: FakeApiServer;
const agents: Agent[] = [];

function startAgent(part: string): Agent {
  const syscalls = createSyscalls();
  const netns = createNetns(syscalls);
  const handle = netns.open(`/run/netns/${name(part)}`);
  if (!handle) throw new Error(`no namespace of ${part}`);
  const netlink = createNetlink(syscalls, netns);
  const clock = createClock();
  const routes = keepNodeRoutes({
    ...{ netlink: { connect: () => netlink.connect(handle) }, clock, log: silentLog },
    ...{ staticRoutes: [], awaitsNodes: true },
  });
  const access = { server: server.url, credentials: async () => ({}) };
  const client = createApiClient({ access, clock, userAgent: "trivet/test" });
  const onNodes = (all: Parameters<Parameters<typeof watchNodes>[0]["onNodes"]>[0]) => {
    const peers = routesToPeers(all.values(), part);
    routes.setPeers(peers.routes, peers.refused);
  };
  const watch = watchNodes({ client, clock, log: silentLog, random: Math.random, onNodes });
  return { routes, watch, client, handle };
}

const putNode = ({ part, v4, v6, podCIDRs }: TestNode) =>
  server.put({ name: part, podCIDRs, internalIps: [v4, v6] });
const until = (condition: () => boolean) =>
  vi.waitFor(() => expect(condition()).toBe(true), { timeout: 10_000, interval: 50 });

beforeAll(async () => {
  expect(process.getuid?.(), "these tests need root").toBe(0);
  for (const part of ["n1", "n2", "p1", "p2"]) ip("netns", "add", name(part));
  ip("-n", name("n1"), "link", "add", "up0", "type", "veth", "peer", "name", "up0", "netns", name("n2"));
  for (const node of nodes) makeNode(node);
  server = await startFakeApiServer();
});
afterAll(async () => {
  for (const { routes, watch, client, handle } of agents) {
    await watch.stop();
    await routes.stop();
    client.close();
    handle.close();
  }
  await server.stop();
  for (const part of ["n1", "n2", "p1", "p2"]) ip("netns", "delete", name(part));
});

describe("pods of two nodes", () => {
  test("reach one another over both families once the nodes are known, and not before", async () => {
    for (const node of nodes) putNode(node);
    expect(pings("10.42.2.2")).toBe(false);
    agents.push(startAgent("n1"), startAgent("n2"));
    await until(() => show("n1") !== "" && show("n2") !== "" && show("n2", "-6") !== "");
    expect(show("n1")).toMatch(/^10\.42\.2\.0\/24 via 192\.0\.2\.2 dev up0/);
    await until(() => pings("10.42.2.2") && pings("fd00:2::2"));
  });

  test("reach one another again after something has flushed the routes", async () => {
    inside("n1", "ip", "route", "flush", "proto", "84");
    expect(pings("10.42.2.2")).toBe(false);
    await agents[0]?.routes.pass();
    expect(pings("10.42.2.2")).toBe(true);
  });

  test("lose the route when the node goes, and nobody else's", async () => {
    inside("n1", "ip", "route", "add", "10.99.0.0/24", "via", "192.0.2.2");
    inside("n1", "ip", "route", "add", "10.42.2.0/24", "via", "192.0.2.2", "metric", "50");
    server.remove("n2");
    await until(() => show("n1") === "" && show("n1", "-6") === "");
    const left = inside("n1", "ip", "route");
    expect(left).toContain("10.99.0.0/24 via 192.0.2.2");
    expect(left).toContain("10.42.2.0/24 via 192.0.2.2 dev up0 metric 50");
    inside("n1", "ip", "route", "del", "10.42.2.0/24", "metric", "50");
  });

  test("are not routed through somebody else's route to the same network", async () => {
    inside("n1", "ip", "route", "add", "10.42.2.0/24", "via", "192.0.2.9");
    const [, second] = nodes;
    if (second) putNode(second);
    await until(() => show("n1", "-6") !== "");
    await agents[0]?.routes.pass();
    expect(show("n1")).toBe("");
    expect(inside("n1", "ip", "route")).toContain("10.42.2.0/24 via 192.0.2.9");
    inside("n1", "ip", "route", "del", "10.42.2.0/24");
    await agents[0]?.routes.pass();
    expect(pings("10.42.2.2")).toBe(true);
  });

  test("5,000 routes of pods make a look at ours no dearer: the kernel leaves them out", async () => {
    const lines = Array.from(
      { length: 5_000 },
      (_, index) => `route add 10.50.${index >> 8}.${index & 255} dev tv0`,
    );
    const { execFileSync } = await import("node:child_process");
    execFileSync("ip", ["-n", name("n1"), "-batch", "-"], { input: lines.join("\n") });
    const handle = agents[0]?.handle;
    const syscalls = createSyscalls();
    const connection = createNetlink(syscalls, createNetns(syscalls)).connect(handle);
    const ours = await connection.routesOf(84);
    connection.close();
    expect(ours.map(({ destination }) => destination)).toEqual(["10.42.2.0", "fd00:2::"]);
  });
});
