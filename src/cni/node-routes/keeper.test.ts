/** The keeper on the fake kernel: what it adds, repairs and removes, what it leaves alone, and what it says once. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createFakeClock, type FakeClock } from "../../../test/fakes/clock.ts";
import { FakeKernel, FakeProcess } from "../../../test/fakes/netlink.ts";
import { errnoError } from "../../host/errno.ts";
import { type Log, silentLog } from "../../observe/log.ts";
import { keepNodeRoutes, type NodeRoutes, type NodeRoutesState } from "./keeper.ts";
import { parseStaticRoute } from "./peers.ts";

let kernel: FakeKernel;
let clock: FakeClock;
let linkIndex: number;
let routes: NodeRoutes | undefined;
let said: string[];
let states: NodeRoutesState[];
let repaired: number;

beforeEach(() => {
  kernel = new FakeKernel();
  clock = createFakeClock();
  const uplink = kernel.host.addPlainLink("up0", { mac: "02:00:00:00:00:01", mtu: 1500 });
  uplink.up = true;
  linkIndex = uplink.index;
  kernel.host.addRoute({ op: "route.add", linkIndex, destination: "192.168.1.0", prefixLength: 24 });
  const router = { destination: "0.0.0.0", prefixLength: 0, gateway: "192.168.1.254" };
  kernel.host.addRoute({ op: "route.add", linkIndex, ...router });
  said = [];
  states = [];
  repaired = 0;
});
afterEach(async () => {
  await routes?.stop();
  expect(kernel.openDescriptors).toBe(0);
});

const log: Log = { ...silentLog, warn: (message) => said.push(message), child: () => log };
const list = (...texts: string[]) => texts.map(parseStaticRoute);

async function start(
  options: { staticRoutes?: string[]; awaitsNodes?: boolean; process?: FakeProcess } = {},
) {
  const { staticRoutes = [], awaitsNodes = true, process = new FakeProcess(kernel) } = options;
  routes = keepNodeRoutes({
    ...{ netlink: process.netlink, clock, log, awaitsNodes, staticRoutes: list(...staticRoutes) },
    observer: { pass: (state) => states.push(state), repaired: (count) => (repaired += count) },
  });
  await routes.pass();
  return routes;
}

const ours = () =>
  kernel.host.routes
    .filter(({ protocol }) => protocol === 84)
    .map(({ destination, prefixLength, gateway }) => `${destination}/${prefixLength} via ${gateway}`);

describe("the routes to other nodes", () => {
  it("follow the nodes: they come, move and go", async () => {
    const keeper = await start();
    keeper.setPeers(list("10.42.1.0/24=192.168.1.2", "10.42.2.0/24=192.168.1.3"), []);
    await keeper.pass();
    expect(ours()).toEqual(["10.42.1.0/24 via 192.168.1.2", "10.42.2.0/24 via 192.168.1.3"]);
    keeper.setPeers(list("10.42.1.0/24=192.168.1.9"), []);
    await keeper.pass();
    expect(ours()).toEqual(["10.42.1.0/24 via 192.168.1.9"]);
    keeper.setPeers([], []);
    await keeper.pass();
    expect(ours()).toEqual([]);
    expect(kernel.host.routes).toHaveLength(2);
  });

  it("come back within a pass when something takes them away", async () => {
    const keeper = await start({ staticRoutes: ["10.42.1.0/24=192.168.1.2"], awaitsNodes: false });
    kernel.host.routes = kernel.host.routes.filter(({ protocol }) => protocol !== 84);
    clock.advance(10_000);
    await keeper.pass();
    expect(ours()).toEqual(["10.42.1.0/24 via 192.168.1.2"]);
    expect(repaired).toBe(1);
    expect(said).toEqual(["routes to other nodes had been taken away, and are there again"]);
  });

  it("of an earlier process stay until the nodes are known, and go then if their node has gone", async () => {
    const route = { destination: "10.42.7.0", prefixLength: 24, gateway: "192.168.1.7", protocol: 84 };
    kernel.host.addRoute({ op: "route.add", linkIndex, ...route });
    const keeper = await start();
    expect(ours()).toHaveLength(1);
    keeper.setPeers([], []);
    await keeper.pass();
    expect(ours()).toEqual([]);
  });

  it("of an earlier process go where nothing asks for routes any more", async () => {
    const route = { destination: "10.42.7.0", prefixLength: 24, gateway: "192.168.1.7", protocol: 84 };
    kernel.host.addRoute({ op: "route.add", linkIndex, ...route });
    await start({ awaitsNodes: false });
    expect(ours()).toEqual([]);
  });

  it("are not made where the next hop is behind a router, or nowhere; this is said once", async () => {
    const peers = list("10.42.1.0/24=192.168.7.2", "fd00:1::/64=2001:db8::2");
    const keeper = await start();
    keeper.setPeers(peers, [{ subject: "10.42.9.0/24 of x", why: "because" }]);
    await keeper.pass();
    await keeper.pass();
    expect(ours()).toEqual([]);
    expect(said).toEqual([
      "no route to 10.42.9.0/24 of x: because",
      "no route to 10.42.1.0/24 of 10.42.1.0/24=192.168.7.2 via 192.168.7.2: " +
        "the next hop is behind the router 192.168.1.254, which must know the way to these pods",
      expect.stringContaining("via 2001:db8::2: the next hop cannot be reached from this host"),
    ]);
    expect(states.at(-1)).toEqual({ installed: 0, skipped: 2, conflicts: 0, refused: 1 });
  });

  it("are not made where another node says that it has an address of this host", async () => {
    const own = { op: "address.add", linkIndex, address: "192.168.1.1", prefixLength: 24 } as const;
    kernel.host.addAddress(own);
    await start({ staticRoutes: ["10.42.1.0/24=192.168.1.1"], awaitsNodes: false });
    expect(ours()).toEqual([]);
    expect(said).toEqual([expect.stringContaining("the next hop is an address of this host itself")]);
    expect(states.at(-1)).toEqual({ installed: 0, skipped: 1, conflicts: 0, refused: 0 });
  });

  it("are back with the next pass after the uplink was made anew", async () => {
    const keeper = await start({ staticRoutes: ["10.42.1.0/24=192.168.1.2"], awaitsNodes: false });
    kernel.host.deleteLink("up0");
    const again = kernel.host.addPlainLink("up0", { mac: "02:00:00:00:00:01", mtu: 1500 });
    again.up = true;
    const network = { destination: "192.168.1.0", prefixLength: 24 };
    kernel.host.addRoute({ op: "route.add", linkIndex: again.index, ...network });
    await keeper.pass();
    await keeper.pass();
    expect(ours()).toEqual(["10.42.1.0/24 via 192.168.1.2"]);
  });

  it("are told in one line where many are behind one router", async () => {
    const keeper = await start();
    const many = Array.from(
      { length: 300 },
      (_, index) => `10.50.${index % 256}.${index > 255 ? 128 : 0}/25=192.168.7.2`,
    );
    keeper.setPeers(list(...many), []);
    await keeper.pass();
    expect(said).toEqual([
      expect.stringMatching(/and 297 more: the next hop is behind the router 192\.168\.1\.254/),
    ]);
    expect(states.at(-1)).toMatchObject({ skipped: 300 });
  });

  it("leave a foreign route to the same network alone, and take its place when it goes", async () => {
    const foreign = { destination: "10.42.1.0", prefixLength: 24, gateway: "192.168.1.77" };
    kernel.host.addRoute({ op: "route.add", linkIndex, ...foreign });
    const keeper = await start({ staticRoutes: ["10.42.1.0/24=192.168.1.2"], awaitsNodes: false });
    await keeper.pass();
    expect(ours()).toEqual([]);
    expect(states.at(-1)).toMatchObject({ installed: 0, conflicts: 1 });
    expect(said).toEqual([expect.stringContaining("that is not ours, and stays")]);
    kernel.host.routes = kernel.host.routes.filter(({ gateway }) => gateway !== foreign.gateway);
    await keeper.pass();
    expect(ours()).toHaveLength(1);
    expect(repaired).toBe(0);
  });

  it("of the configuration go over those of nodes", async () => {
    const keeper = await start({ staticRoutes: ["10.42.1.0/24=192.168.1.2"] });
    keeper.setPeers(list("10.42.1.0/24=192.168.1.3"), []);
    await keeper.pass();
    expect(ours()).toEqual(["10.42.1.0/24 via 192.168.1.2"]);
  });

  it("are tried again after the kernel refused", async () => {
    const process = new FakeProcess(kernel);
    process.onEffect = (op, subject) => {
      throw errnoError("EIO", op, subject);
    };
    const keeper = await start({ staticRoutes: ["10.42.1.0/24=192.168.1.2"], awaitsNodes: false, process });
    expect(said[0]).toContain("could not be kept");
    process.onEffect = undefined;
    await keeper.pass();
    expect(ours()).toHaveLength(1);
  });

  it("stay when the agent ends", async () => {
    const keeper = await start({ staticRoutes: ["10.42.1.0/24=192.168.1.2"], awaitsNodes: false });
    await keeper.stop();
    expect(ours()).toHaveLength(1);
  });
});
