/** The watch of the underlay's MTU on the fake kernel. */
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { bootId, createFakeNode, type FakeNode } from "../../test/fakes/cni-node.ts";
import { type Log, silentLog } from "../observe/log.ts";
import { type MtuWatch, watchMtu } from "./mtu-watch.ts";
import { encodeEntry } from "./state/entry.ts";

const stateDir = "/run/trivet/cni";
let node: FakeNode;
let watch: MtuWatch | undefined;
let said: { message: string; fields: unknown }[];

beforeEach(() => {
  node = createFakeNode();
  said = [];
});
afterEach(async () => {
  await watch?.stop();
  expect(node.kernel.openDescriptors).toBe(0);
});

const log: Log = {
  ...silentLog,
  warn: (message, fields) => said.push({ message, fields }),
  child: () => log,
};

async function start(apply: boolean): Promise<MtuWatch> {
  await watch?.stop();
  watch = watchMtu({ deps: node.boot().deps, stateDir, apply, log });
  await watch.look();
  return watch;
}

/** A pod as ADD leaves it. */
async function pod(name: string, mtu: number, { fixed = false, addresses = ["10.88.0.2"] } = {}) {
  const { netlink, netns, files } = node.boot().deps;
  const path = `/run/netns/${name}`;
  node.kernel.addNamespace(path);
  const handle = netns.open(path);
  if (!handle) throw new Error("no namespace");
  const mac = { host: "02:00:00:00:00:01", pod: "02:00:00:00:00:02" };
  const host = netlink.connect();
  const peer = { name: "eth0", mac: mac.pod, netns: handle };
  await host.apply([{ op: "veth.add", name: `tv${name}`, mac: mac.host, mtu, peer }]);
  host.close();
  handle.close();
  const record = {
    ...{ network: "pods", containerId: name, ifname: "eth0", hostLink: `tv${name}`, hostMac: mac.host },
    ...{ podMac: mac.pod, netns: path, netnsInode: handle.inode.toString(), addresses, claim: "x" },
    followsMtu: !fixed,
  };
  const attachments = join(stateDir, bootId, "pods/attachments");
  for (const part of [stateDir, join(stateDir, bootId), join(stateDir, bootId, "pods"), attachments]) {
    await files.mkdir(part, 0o700).catch(() => undefined);
  }
  await files.create(join(attachments, `${name}:eth0`), encodeEntry("committed", record), 0o600);
}

const uplink = () => node.kernel.host.requireLink("test", "eth0");
const mtusOf = (name: string) => {
  const namespace = node.kernel.namespaceAt(`/run/netns/${name}`);
  const inPod = typeof namespace === "object" ? namespace.requireLink("test", "eth0").mtu : undefined;
  return [node.kernel.host.requireLink("test", `tv${name}`).mtu, inPod];
};

describe("the watch of the underlay's MTU", () => {
  it("gives a change to the pods whose configuration names none, and to no others", async () => {
    await pod("auto", 1450);
    await pod("fixed", 1300, { fixed: true });
    await pod("same", 1450, { fixed: true });
    const { look } = await start(true);
    uplink().mtu = 9000;
    await look();
    expect(mtusOf("auto")).toEqual([9000, 9000]);
    expect(mtusOf("fixed")).toEqual([1300, 1300]);
    expect(mtusOf("same")).toEqual([1450, 1450]);
    expect(said).toEqual([
      {
        message: "the MTU of the underlay has changed",
        fields: { before4: 1450, before6: 1450, mtu4: 9000, mtu6: 9000, podsChanged: 1 },
      },
    ]);
  });

  it("leaves a pod with IPv6 an MTU on which IPv6 works", async () => {
    await pod("four", 1450);
    await pod("six", 1450, { addresses: ["10.88.0.3", "fd00::3"] });
    const { look } = await start(true);
    uplink().mtu = 1000;
    await look();
    expect(mtusOf("four")).toEqual([1000, 1000]);
    expect(mtusOf("six")).toEqual([1450, 1450]);
    expect(said.map(({ message }) => message)).toContain("a pod keeps its MTU");
  });

  it("gives each pod the MTU of its own families", async () => {
    const tunnel = node.kernel.host.addPlainLink("tun0", { mac: "02:00:00:00:00:98", mtu: 1400 });
    tunnel.up = true;
    const route = { destination: "::", prefixLength: 0, gateway: "fd00::1" } as const;
    node.kernel.host.addRoute({ op: "route.add", linkIndex: tunnel.index, ...route });
    await pod("four", 1450);
    await pod("six", 1400, { addresses: ["fd00::3"] });
    await pod("both", 1400, { addresses: ["10.88.0.3", "fd00::4"] });
    const { look } = await start(true);
    uplink().mtu = 1420;
    await look();
    expect(["four", "six", "both"].map((name) => mtusOf(name)[1])).toEqual([1420, 1400, 1400]);
    tunnel.mtu = 1380;
    await look();
    expect(["four", "six", "both"].map((name) => mtusOf(name)[1])).toEqual([1420, 1380, 1380]);
  });

  it("only tells a change unless it is to be applied", async () => {
    await pod("auto", 1450);
    const { look } = await start(false);
    uplink().mtu = 1400;
    await look();
    await look();
    expect(mtusOf("auto")).toEqual([1450, 1450]);
    expect(said).toHaveLength(1);
    expect(said[0]?.message).toContain("only new pods get it");
  });

  it("notices a change that happened while no agent ran", async () => {
    await pod("auto", 1450);
    await start(true);
    await watch?.stop();
    uplink().mtu = 1400;
    await start(true);
    expect(mtusOf("auto")).toEqual([1400, 1400]);
  });

  it("passes a pod over whose namespace is gone, and goes on", async () => {
    await pod("gone", 1450);
    await pod("here", 1450);
    const { look } = await start(true);
    node.kernel.removeNamespace("/run/netns/gone");
    uplink().mtu = 1400;
    await look();
    expect(mtusOf("here")).toEqual([1400, 1400]);
  });
});
