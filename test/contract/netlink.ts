/** What `Netlink` promises, as cases that run on the fake and on the kernel alike: whoever trusts the fake in a test trusts these. */
import { expect } from "vitest";
import type { Netlink, RouteChange, RouteConnection } from "../../src/host/netlink.ts";
import type { NetnsHandle } from "../../src/host/netns.ts";

/** Two new, empty namespaces: in the part of the host and of a pod. */
export interface NetlinkUnderTest {
  readonly netlink: Netlink;
  readonly host: NetnsHandle;
  readonly pod: NetnsHandle;
}

export interface NetlinkCase {
  readonly title: string;
  run(subject: NetlinkUnderTest): Promise<void>;
}

interface Ends {
  readonly host: RouteConnection;
  readonly pod: RouteConnection;
  readonly pair: Extract<RouteChange, { op: "veth.add" }>;
}

const HOST_MAC = "02:00:00:00:00:01";
const POD_MAC = "02:00:00:00:00:02";

async function withEnds(subject: NetlinkUnderTest, work: (ends: Ends) => Promise<void>): Promise<void> {
  const host = subject.netlink.connect(subject.host);
  const pod = subject.netlink.connect(subject.pod);
  const peer = { name: "eth0", mac: POD_MAC, netns: subject.pod };
  try {
    await work({ host, pod, pair: { op: "veth.add", name: "tvhost", mac: HOST_MAC, mtu: 1380, peer } });
  } finally {
    host.close();
    pod.close();
  }
}

/** With the pair made and up at both ends; gives the host's index of it. */
async function withPair(
  subject: NetlinkUnderTest,
  work: (ends: Ends & { readonly linkIndex: number }) => Promise<void>,
): Promise<void> {
  await withEnds(subject, async (ends) => {
    await ends.host.apply([ends.pair]);
    await ends.host.apply([{ op: "link.up", name: "tvhost" }]);
    await ends.pod.apply([{ op: "link.up", name: "eth0" }]);
    const link = await ends.host.link("tvhost");
    await work({ ...ends, linkIndex: link?.index ?? -1 });
  });
}

export const netlinkContract: readonly NetlinkCase[] = [
  {
    title: "a new namespace has a loopback interface that is down, and nothing else",
    run: (subject) =>
      withEnds(subject, async ({ pod }) => {
        expect(await pod.link("lo")).toMatchObject({ index: 1, name: "lo", up: false });
        expect(await pod.link("eth0")).toBeUndefined();
        expect(await pod.linkAt(4711)).toBeUndefined();
      }),
  },
  {
    title: "a veth pair appears in both namespaces at once, under its names, with its MACs and MTU, down",
    run: (subject) =>
      withEnds(subject, async ({ host, pod, pair }) => {
        await host.apply([pair]);
        const near = await host.link("tvhost");
        expect(near).toMatchObject({ name: "tvhost", mac: HOST_MAC, mtu: 1380, up: false, kind: "veth" });
        expect(await host.linkAt(near?.index ?? -1)).toEqual(near);
        const far = { name: "eth0", mac: POD_MAC, mtu: 1380, up: false, kind: "veth" };
        expect(await pod.link("eth0")).toMatchObject(far);
        expect(await host.link("eth0")).toBeUndefined();
      }),
  },
  {
    title: "a veth pair whose host name is taken is refused, and no peer is made",
    run: (subject) =>
      withEnds(subject, async ({ host, pod, pair }) => {
        await host.apply([pair]);
        const again = { ...pair, peer: { ...pair.peer, name: "eth1" } };
        await expect(host.apply([again])).rejects.toMatchObject({ kind: "conflict", op: "veth.add" });
        expect(await pod.link("eth1")).toBeUndefined();
      }),
  },
  {
    title: "a veth pair whose name in the pod is taken is refused, and no host end is made",
    run: (subject) =>
      withEnds(subject, async ({ host, pair }) => {
        await host.apply([pair]);
        const again = { ...pair, name: "tvother" };
        await expect(host.apply([again])).rejects.toMatchObject({ kind: "conflict", op: "veth.add" });
        expect(await host.link("tvother")).toBeUndefined();
      }),
  },
  {
    title: "deleting one end deletes the other, and the routes and addresses on both",
    run: (subject) =>
      withPair(subject, async ({ host, pod, linkIndex }) => {
        await host.apply([{ op: "route.add", linkIndex, destination: "10.9.0.2", prefixLength: 32 }]);
        expect(await host.routeTo("10.9.0.2")).toMatchObject({ linkIndex });
        await host.apply([{ op: "link.delete", name: "tvhost" }]);
        expect(await host.link("tvhost")).toBeUndefined();
        expect(await pod.link("eth0")).toBeUndefined();
        expect(await host.routeTo("10.9.0.2")).toBeUndefined();
        expect(await host.routes(linkIndex)).toEqual([]);
      }),
  },
  {
    title: "links deleted at the same time are each gone when their own call ends; a missing one fails alone",
    run: (subject) =>
      withEnds(subject, async ({ host, pair }) => {
        const names = Array.from({ length: 12 }, (_, index) => `tv${index}`);
        for (const name of [...names, "tvother"]) {
          await host.apply([{ ...pair, name, peer: { ...pair.peer, name } }]);
        }
        const remove = async (name: string) => {
          const connection = subject.netlink.connect(subject.host);
          try {
            await connection.apply([{ op: "link.delete", name }]);
            expect(await connection.link(name)).toBeUndefined();
          } finally {
            connection.close();
          }
        };
        const outcomes = await Promise.allSettled([...names, "none"].map(remove));
        expect(outcomes.map(({ status }) => status)).toEqual([...names.map(() => "fulfilled"), "rejected"]);
        expect(outcomes.at(-1)).toMatchObject({ reason: { kind: "not-found", op: "link.delete" } });
        expect(await host.link("tvother")).toMatchObject({ name: "tvother" });
      }),
  },
  ...(["link.delete", "link.up", "link.no-address-generation"] as const).map((op) => ({
    title: `${op} of an interface that is not there is not-found`,
    run: (subject: NetlinkUnderTest) =>
      withEnds(subject, async ({ host }) => {
        await expect(host.apply([{ op, name: "none" }])).rejects.toMatchObject({
          kind: "not-found",
          op,
          subject: "none",
        });
      }),
  })),
  {
    title: "link.no-address-generation of an interface that is too small for IPv6 is unsupported",
    run: (subject) =>
      withEnds(subject, async ({ host, pair }) => {
        await host.apply([{ ...pair, mtu: 1_000 }]);
        await expect(
          host.apply([{ op: "link.no-address-generation", name: "tvhost" }]),
        ).rejects.toMatchObject({ kind: "unsupported", subject: "tvhost" });
      }),
  },
  {
    title: "a batch goes on after a change that fails, and reports the first failure",
    run: (subject) =>
      withEnds(subject, async ({ pod }) => {
        const batch = pod.apply([
          { op: "link.up", name: "none" },
          { op: "link.up", name: "lo" },
          { op: "link.delete", name: "nothing" },
        ]);
        await expect(batch).rejects.toMatchObject({ op: "link.up", subject: "none" });
        expect(await pod.link("lo")).toMatchObject({ up: true });
      }),
  },
  {
    title: "an empty batch does nothing",
    run: (subject) => withEnds(subject, ({ host }) => host.apply([])),
  },
  {
    title: "an address is on its link alone, and cannot be added twice",
    run: (subject) =>
      withPair(subject, async ({ host, linkIndex }) => {
        const change = { op: "address.add", linkIndex, address: "10.9.0.1", prefixLength: 32 } as const;
        await host.apply([{ op: "link.no-address-generation", name: "tvhost" }, change]);
        const ofIpv4 = (await host.addresses(linkIndex)).filter(({ address }) => address.includes("."));
        expect(ofIpv4).toEqual([{ address: "10.9.0.1", prefixLength: 32 }]);
        await expect(host.apply([change])).rejects.toMatchObject({ kind: "conflict", op: "address.add" });
      }),
  },
  {
    title: "a route without a gateway is on the link; one with a gateway needs no route to it",
    run: (subject) =>
      withPair(subject, async ({ host, linkIndex }) => {
        await host.apply([
          { op: "address.add", linkIndex, address: "10.9.0.1", prefixLength: 32 },
          { op: "route.add", linkIndex, destination: "10.9.0.2", prefixLength: 32 },
          { op: "route.add", linkIndex, destination: "0.0.0.0", prefixLength: 0, gateway: "169.254.1.1" },
        ]);
        const ofIpv4 = (await host.routes(linkIndex)).filter(({ destination }) => destination.includes("."));
        expect(ofIpv4).toHaveLength(2);
        const onLink = { destination: "10.9.0.2", prefixLength: 32, gateway: undefined, linkIndex };
        expect(ofIpv4).toContainEqual(onLink);
        const gateway = "169.254.1.1";
        expect(ofIpv4).toContainEqual({ destination: "0.0.0.0", prefixLength: 0, gateway, linkIndex });
        expect(await host.routeTo("10.9.0.2")).toMatchObject({ gateway: undefined, linkIndex });
        expect(await host.routeTo("192.0.0.8")).toMatchObject({ gateway, linkIndex });
      }),
  },
  {
    title: "a route that is there already is refused",
    run: (subject) =>
      withPair(subject, async ({ host, linkIndex }) => {
        const change = { op: "route.add", linkIndex, destination: "10.9.0.2", prefixLength: 32 } as const;
        await host.apply([change]);
        await expect(host.apply([change])).rejects.toMatchObject({
          kind: "conflict",
          subject: "10.9.0.2/32",
        });
      }),
  },
  {
    title: "a route through a link that is down is refused",
    run: (subject) =>
      withEnds(subject, async ({ host, pair }) => {
        await host.apply([pair]);
        const linkIndex = (await host.link("tvhost"))?.index ?? -1;
        const change = { op: "route.add", linkIndex, destination: "10.9.0.2", prefixLength: 32 } as const;
        await expect(host.apply([change])).rejects.toMatchObject({ kind: "io", op: "route.add" });
      }),
  },
  {
    title: "there is no route to anywhere in a new namespace",
    run: (subject) =>
      withEnds(subject, async ({ host }) => {
        expect(await host.routeTo("192.0.0.8")).toBeUndefined();
        expect(await host.routes(1)).toEqual([]);
      }),
  },
  {
    title: "an address of the host itself is reached by the loopback interface",
    run: (subject) =>
      withPair(subject, async ({ host, linkIndex }) => {
        await host.apply([{ op: "link.up", name: "lo" }]);
        for (const [address, prefixLength] of [
          ["10.9.0.1", 24],
          ["fd00:9::1", 64],
        ] as const) {
          await host.apply([{ op: "address.add", linkIndex, address, prefixLength }]);
          expect(await host.routeTo(address)).toMatchObject({ linkIndex: 1, gateway: undefined });
        }
      }),
  },
  {
    title: "a neighbour entry may be given again, with another MAC",
    run: (subject) =>
      withPair(subject, async ({ host, linkIndex }) => {
        const entry = { op: "neighbour.add", linkIndex, address: "10.9.0.2" } as const;
        await host.apply([{ ...entry, mac: POD_MAC }]);
        await host.apply([{ ...entry, mac: HOST_MAC }]);
      }),
  },
  {
    title: "routes of a protocol are told apart from all others, and only they are deleted as such",
    run: (subject) =>
      withPair(subject, async ({ host, linkIndex }) => {
        // Without any address of its own the kernel takes no gateway.
        await host.apply([{ op: "address.add", linkIndex, address: "192.0.2.1", prefixLength: 32 }]);
        const route = { linkIndex, destination: "10.42.1.0", prefixLength: 24, gateway: "192.0.2.7" };
        const foreign = { ...route, destination: "10.42.2.0" };
        const ofSix = { ...route, destination: "2001:db8:1::", prefixLength: 64, gateway: "2001:db8::7" };
        await host.apply([{ op: "route.add", ...route, protocol: 84 }]);
        await host.apply([{ op: "route.add", ...foreign }]);
        expect(await host.routesOf(84)).toEqual([route]);
        expect(await host.routesOf(85)).toEqual([]);
        const six = { kind: "conflict" } as const;
        await host.apply([{ op: "route.add", ...ofSix, protocol: 84 }]);
        await expect(host.apply([{ op: "route.add", ...ofSix, protocol: 84 }])).rejects.toMatchObject(six);
        expect(await host.routesOf(84)).toEqual([route, ofSix]);
        const notOurs = host.apply([{ op: "route.delete", ...foreign, protocol: 84 }]);
        await expect(notOurs).rejects.toMatchObject({ kind: "not-found", op: "route.delete" });
        await host.apply([
          { op: "route.delete", ...route, protocol: 84 },
          { op: "route.delete", ...ofSix, protocol: 84 },
        ]);
        expect(await host.routesOf(84)).toEqual([]);
        expect(await host.routes(linkIndex)).toContainEqual(foreign);
      }),
  },
  {
    title: "the MTU of a link can be changed while it is up",
    run: (subject) =>
      withPair(subject, async ({ host }) => {
        await host.apply([{ op: "link.mtu", name: "tvhost", mtu: 1300 }]);
        expect(await host.link("tvhost")).toMatchObject({ mtu: 1300, up: true });
        const missing = host.apply([{ op: "link.mtu", name: "absent", mtu: 1300 }]);
        await expect(missing).rejects.toMatchObject({ kind: "not-found", op: "link.mtu" });
      }),
  },
  {
    title: "an address, route or neighbour on a link that is not there is not-found",
    run: (subject) =>
      withEnds(subject, async ({ host }) => {
        const linkIndex = 4711;
        const destination = { destination: "10.9.0.2", prefixLength: 32 };
        const address = "10.9.0.2";
        for (const change of [
          { op: "address.add", linkIndex, address, prefixLength: 32 },
          { op: "route.add", linkIndex, ...destination },
          { op: "neighbour.add", linkIndex, address, mac: POD_MAC },
        ] as const) {
          const kind = "not-found";
          await expect(host.apply([change]), change.op).rejects.toMatchObject({ kind, op: change.op });
        }
      }),
  },
  {
    title: "what may be there already is no failure, and stays as it was; another failure still is one",
    run: (subject) =>
      withPair(subject, async ({ host, linkIndex }) => {
        const address = { op: "address.add", linkIndex, address: "fd00:9::1", prefixLength: 64 } as const;
        const route = { op: "route.add", linkIndex, destination: "10.9.0.2", prefixLength: 32 } as const;
        await host.apply([{ ...address, address: "10.9.0.1", prefixLength: 32 }, address, route]);
        const again = [
          { ...address, unlessThere: true },
          { ...route, gateway: "169.254.1.1", unlessThere: true },
        ];
        await host.apply(again);
        expect(await host.routeTo("10.9.0.2")).toMatchObject({ gateway: undefined });
        await expect(host.apply([...again, { op: "link.up", name: "none" }])).rejects.toMatchObject({
          op: "link.up",
        });
      }),
  },
  {
    title: "changes and the look at their link are one go; each end of a pair knows the other's index",
    run: (subject) =>
      withEnds(subject, async ({ host, pod, pair }) => {
        const near = await host.applyThenLink([pair], "tvhost");
        const far = await pod.link("eth0");
        expect(near).toMatchObject({ name: "tvhost", mac: HOST_MAC, peerIndex: far?.index });
        expect(far).toMatchObject({ peerIndex: near?.index, masterIndex: undefined, port: undefined });
        await expect(host.applyThenLink([pair], "tvhost")).rejects.toMatchObject({ kind: "conflict" });
        expect(await host.applyThenLink([], "none")).toBeUndefined();
      }),
  },
  {
    title: "a pair may be made as a port of a bridge, whose MAC stays its own, and its flags be set",
    run: (subject) =>
      withEnds(subject, async ({ host, pair }) => {
        const bridge = { op: "bridge.add", name: "trbr0", mac: "02:00:00:00:00:aa", mtu: 1400 } as const;
        const made = await host.applyThenLink([bridge], "trbr0");
        expect(made).toMatchObject({ kind: "bridge", mac: bridge.mac, mtu: 1400, up: false });
        await expect(host.apply([bridge])).rejects.toMatchObject({ kind: "conflict", op: "bridge.add" });
        const port = await host.applyThenLink([{ ...pair, bridgeIndex: made?.index }], "tvhost");
        expect(port).toMatchObject({
          masterIndex: made?.index,
          port: { hairpin: false, isolated: false },
        });
        const flags = { hairpin: true, isolated: true };
        await host.apply([{ op: "bridge-port.set", name: "tvhost", ...flags }]);
        expect((await host.link("tvhost"))?.port).toEqual(flags);
        expect((await host.link("trbr0"))?.mac).toBe(bridge.mac);
      }),
  },
  {
    title: "flags of a link that is no port of a bridge are refused",
    run: (subject) =>
      withEnds(subject, async ({ host, pair }) => {
        await host.apply([pair]);
        const change = { op: "bridge-port.set", name: "tvhost", hairpin: true, isolated: false } as const;
        await expect(host.apply([change])).rejects.toMatchObject({ op: "bridge-port.set" });
      }),
  },
  {
    title: "the neighbours of a link are told, permanent or learned, of both families",
    run: (subject) =>
      withPair(subject, async ({ host, linkIndex }) => {
        const entry = { op: "neighbour.add", linkIndex, mac: POD_MAC } as const;
        await host.apply([
          { ...entry, address: "10.9.0.2" },
          { ...entry, address: "fd00:9::2", learned: true },
        ]);
        const found = await host.neighbours(linkIndex);
        expect(found).toContainEqual({ address: "10.9.0.2", mac: POD_MAC, permanent: true });
        expect(found).toContainEqual({ address: "fd00:9::2", mac: POD_MAC, permanent: false });
        expect(await host.neighbours(1)).toEqual([]);
      }),
  },
  {
    title: "closing a connection twice is harmless",
    run: (subject) =>
      withEnds(subject, async ({ host }) => {
        host.close();
        host.close();
      }),
  },
];
