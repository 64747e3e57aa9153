/** The CNI leg on the real kernel: real traffic, through the agent and standalone, and nothing left behind. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createNetns } from "../../src/host/netns.ts";
import { createNft } from "../../src/host/nft.ts";
import { createSyscalls } from "../../src/host/syscall.ts";
import { addressIn, uplink, World } from "./support/cni-world.ts";

let world: World;
let before: ReturnType<World["picture"]>;

beforeAll(async () => {
  expect(process.getuid?.(), "these tests need root").toBe(0);
  world = new World();
  before = world.picture();
  for (const pod of ["p1", "p2"]) world.addNamespace(pod);
  return () => world.destroy();
});

describe("two pods through the agent", () => {
  let first: string;
  let second: string;

  beforeAll(async () => {
    await world.startAgent();
    first = addressIn(await world.call("ADD", "p1"));
    second = addressIn(await world.call("ADD", "p2"));
    return () => world.stopAgent();
  });

  test("have different addresses in the pod network", () => {
    expect(first).toMatch(/^10\.88\.0\.\d+$/);
    expect(second).not.toBe(first);
  });

  test("have an address of their own, one gateway, and a loopback that is up", () => {
    expect(world.exec("p1", "ip", "-4", "-o", "address", "show", "eth0")).toContain(`inet ${first}/32`);
    expect(world.exec("p1", "ip", "-4", "route")).toMatch(/default via 169\.254\.1\.1 dev eth0 .*onlink/);
    expect(world.exec("p1", "ip", "neigh", "show", "169.254.1.1")).toContain("PERMANENT");
    expect(world.pings("p1", "127.0.0.1")).toBe(true);
  });

  test("reach each other", () => {
    expect(world.pings("p1", second)).toBe(true);
    expect(world.pings("p2", first)).toBe(true);
  });

  test("reach the host, and the host reaches them", () => {
    expect(world.pings("p1", uplink.node)).toBe(true);
    expect(world.pings("node", first)).toBe(true);
  });

  test("reach the outside, which knows no way back: the node masquerades", () => {
    expect(world.exec("out", "ip", "route")).not.toContain("10.88");
    expect(world.pings("p1", uplink.outside)).toBe(true);
  });

  test("see each other's own addresses over TCP; the outside sees the node's", async () => {
    const inside = await world.serve("p2", 9000, 10);
    expect(world.fetch("p1", second, 9000)).toBe(10);
    await inside.stop();
    expect(inside.clients).toEqual([first]);
    const outside = await world.serve("out", 9000, 10);
    expect(world.fetch("p1", uplink.outside, 9000)).toBe(10);
    await outside.stop();
    expect(outside.clients).toEqual([uplink.node]);
  });

  test("keep their address on the way to pods of other nodes", async () => {
    const elsewhere = "10.42.7.2";
    world.exec("out", "ip", "address", "add", `${elsewhere}/32`, "dev", "up0");
    world.exec("out", "ip", "route", "add", "10.88.0.0/16", "via", uplink.node);
    const syscalls = createSyscalls();
    const namespaces = createNetns(syscalls);
    const node = namespaces.open(world.netns("node"));
    if (!node) throw new Error("the node has no namespace");
    const nft = createNft(syscalls, { namespaces, netns: node });
    const outside = await world.serve("out", 9000, 10);
    expect(world.fetch("p1", elsewhere, 9000)).toBe(10);
    await nft.write("trivet", { clusterNetworks: { add: ["10.42.0.0/16"], remove: [] } });
    expect(world.fetch("p1", elsewhere, 9000)).toBe(10);
    await outside.stop();
    node.close();
    world.exec("out", "ip", "route", "del", "10.88.0.0/16");
    expect(outside.clients).toEqual([uplink.node, first]);
  });

  test("have the MTU of the uplink, and move a megabyte over it", async () => {
    expect(world.exec("p1", "ip", "-o", "link", "show", "eth0")).toContain(`mtu ${uplink.mtu} `);
    const outside = await world.serve("out", 9001, 1 << 20);
    expect(world.fetch("p1", uplink.outside, 9001)).toBe(1 << 20);
    await outside.stop();
  });

  test("pass CHECK, and fail it when their route is taken away", async () => {
    const added = await world.call("DEL", "p2").then(() => world.call("ADD", "p2"));
    const prevResult = JSON.parse(added.stdout) as object;
    expect(await world.call("CHECK", "p2", { prevResult })).toMatchObject({ exitCode: 0, stdout: "" });
    world.exec("p2", "ip", "route", "del", "default");
    const checked = await world.call("CHECK", "p2", { prevResult });
    expect(JSON.parse(checked.stdout)).toMatchObject({
      code: 101,
      msg: expect.stringContaining("0.0.0.0/0"),
    });
  });

  test("keep working when the agent is killed and its successor starts; a second ADD is refused", async () => {
    await world.stopAgent("SIGKILL");
    expect(world.pings("p1", uplink.outside)).toBe(true);
    await world.startAgent();
    const again = await world.call("ADD", "p1");
    expect(JSON.parse(again.stdout)).toMatchObject({ code: 100, msg: expect.stringContaining(first) });
    expect(world.pings("p1", uplink.node)).toBe(true);
  });

  test("are gone without a trace after DEL, one of them after its namespace went first", async () => {
    world.removeNamespace("p2");
    for (const pod of ["p1", "p2"]) {
      expect(await world.call("DEL", pod)).toMatchObject({ exitCode: 0, stdout: "" });
    }
    expect(world.picture()).toEqual(before);
    expect(world.exec("p1", "ip", "-o", "link")).not.toContain("eth0");
    world.addNamespace("p2");
  });

  test("the masquerade rule stays as it was through all of it: one rule for each family, one network", () => {
    const table = world.exec("node", "nft", "list", "table", "inet", "trivet");
    expect(table.match(/masquerade comment/g)).toHaveLength(2);
    expect(table).toContain("elements = { 10.88.0.0/16 }");
  });
});

test("without ipMasq the outside is not reached", async () => {
  await world.startAgent();
  const config = { name: "plain", ipMasq: false, ipam: { ranges: [[{ subnet: "10.77.0.0/24" }]] } };
  addressIn(await world.call("ADD", "p1", config));
  expect(world.pings("p1", uplink.node)).toBe(true);
  expect(world.pings("p1", uplink.outside)).toBe(false);
  await world.call("DEL", "p1", config);
  await world.stopAgent();
});

describe("standalone, as a runtime starts it without an agent", () => {
  test("adds, serves traffic, and deletes on the same state as the agent", async () => {
    const config = { mtu: 1300 };
    const answer = await world.spawnPlugin("ADD", "p1", config);
    const address = addressIn(answer);
    expect(world.pings("p1", uplink.outside)).toBe(true);
    expect(world.pings("node", address)).toBe(true);
    expect(world.exec("p1", "ip", "-o", "link", "show", "eth0")).toContain("mtu 1300 ");
    await world.startAgent();
    const second = addressIn(await world.call("ADD", "p2"));
    expect(second).not.toBe(address);
    expect(world.pings("p1", second)).toBe(true);
    expect(await world.call("DEL", "p1")).toMatchObject({ exitCode: 0, stdout: "" });
    await world.stopAgent();
    expect(await world.spawnPlugin("DEL", "p2")).toMatchObject({ exitCode: 0, stdout: "" });
    expect(await world.spawnPlugin("DEL", "p2")).toMatchObject({ exitCode: 0, stdout: "" });
    expect(world.picture()).toEqual(before);
  });

  test("an interface that is in the pod already is left alone, and nothing stays behind", async () => {
    world.exec("p1", "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other0");
    const answer = await world.spawnPlugin("ADD", "p1");
    expect(answer.exitCode).toBe(1);
    expect(JSON.parse(answer.stdout)).toMatchObject({ code: 100, msg: expect.stringContaining("eth0") });
    expect(world.exec("p1", "ip", "-o", "link", "show", "eth0")).toContain("other0");
    expect(world.picture()).toEqual(before);
    world.exec("p1", "ip", "link", "del", "eth0");
  });
});

describe("many at once", () => {
  const pods = Array.from({ length: 30 }, (_, index) => `m${index}`);

  beforeAll(() => {
    for (const pod of pods) world.addNamespace(pod);
  });

  afterAll(() => {
    for (const pod of pods) world.removeNamespace(pod);
  });

  test("thirty ADDs and DELs leak neither addresses nor links nor descriptors", async () => {
    await world.startAgent();
    addressIn(await world.call("ADD", "p1"));
    await world.call("DEL", "p1");
    const descriptors = world.agentDescriptors();
    const answers = await Promise.all(pods.map((pod) => world.call("ADD", pod)));
    expect(new Set(answers.map(addressIn)).size).toBe(pods.length);
    expect(world.pings("m0", addressIn(answers[29] ?? { exitCode: 1, stdout: "", stderr: "" }))).toBe(true);
    const deleted = await Promise.all(pods.map((pod) => world.call("DEL", pod)));
    expect(deleted.every(({ exitCode }) => exitCode === 0)).toBe(true);
    expect(world.picture()).toEqual(before);
    // The last connections may still be on their way out.
    await expect.poll(() => world.agentDescriptors()).toBeLessThanOrEqual(descriptors);
  });

  test("an agent killed in the middle of thirty ADDs leaves nothing once the DELs have come", async () => {
    // How far the calls get in so many milliseconds is the machine's affair: at one of these moments some are half done.
    for (const delayMs of [30, 15, 60, 8, 120]) {
      const adding = pods.map((pod) => world.call("ADD", pod));
      await sleep(delayMs);
      await world.stopAgent("SIGKILL");
      // Those that it had begun and did not answer have code 11, by their client: so the runtime sends a DEL for each.
      const failed = (await Promise.all(adding)).filter(({ exitCode }) => exitCode !== 0);
      for (const { stdout } of failed) expect(JSON.parse(stdout)).toMatchObject({ code: 11 });
      await world.startAgent();
      await Promise.all(pods.map((pod) => world.call("DEL", pod)));
      expect(world.picture()).toEqual(before);
      if (failed.length > 0) return await world.stopAgent();
    }
    expect.unreachable("no kill met a call half-way");
  });
});
