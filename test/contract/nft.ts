/** What `Nft` promises, as cases for the fake and for the kernel. */
import { expect } from "vitest";
import type { HostPort, Nft } from "../../src/host/nft.ts";

/** The table is not there at the start of a case. */
export interface NftUnderTest {
  readonly nft: Nft;
  readonly table: string;
}

export interface NftCase {
  readonly title: string;
  run(subject: NftUnderTest): Promise<void>;
}

const none: readonly string[] = [];
const masquerade = (add: readonly string[], remove = none) => ({
  install: ["masquerade"] as const,
  networks: { add, remove },
});
const web: HostPort = {
  ...{ family: 4, protocol: "tcp", hostPort: 8080, hostIp: undefined },
  ...{ podAddress: "10.88.0.2", podPort: 80 },
};
const web6: HostPort = { ...web, family: 6, podAddress: "fd00::2" };
const dns: HostPort = { ...web, protocol: "udp", hostPort: 53, hostIp: "192.0.2.1", podPort: 5353 };
const sctp6: HostPort = { ...web6, protocol: "sctp", hostIp: "2001:db8::1" };
const all = [web, web6, dns, sctp6];
const ports = (add: readonly HostPort[], remove: readonly HostPort[] = []) => ({ ports: { add, remove } });
const withPorts = (...add: HostPort[]) => ({ install: ["ports"] as const, ...ports(add) });

const networksOf = async ({ nft, table }: NftUnderTest) => (await nft.readRules(table)).networks;
const portsOf = async ({ nft, table }: NftUnderTest) => (await nft.readPorts(table)).ports;

const masqueradeCases: readonly NftCase[] = [
  {
    title: "a table that is not there has no parts, no networks and no ports",
    async run({ nft, table }) {
      expect(await nft.readRules(table)).toMatchObject({ parts: [], networks: [] });
      expect(await nft.readPorts(table)).toMatchObject({ ports: [], hairpins: [], bridges: [] });
      expect(await nft.findPorts(table, all)).toMatchObject({ ports: [] });
    },
  },
  {
    title: "one write makes the masquerade and its networks, of both families and any length",
    async run({ nft, table }) {
      const add = ["10.88.0.0/16", "10.0.0.0/24", "128.0.0.0/1", "10.0.1.4/32", "fd00:88::/64", "ff00::/8"];
      await nft.write(table, masquerade(add));
      expect(await nft.readRules(table)).toMatchObject({
        parts: ["masquerade"],
        networks: ["10.0.0.0/24", "10.0.1.4/32", "10.88.0.0/16", "128.0.0.0/1", "fd00:88::/64", "ff00::/8"],
      });
    },
  },
  {
    title: "adjacent networks stay two",
    async run(subject) {
      await subject.nft.write(subject.table, masquerade(["10.1.0.0/16"]));
      await subject.nft.write(subject.table, masquerade(["10.0.0.0/16"]));
      expect(await networksOf(subject)).toEqual(["10.0.0.0/16", "10.1.0.0/16"]);
    },
  },
  {
    title: "the same write twice is the same as once",
    async run(subject) {
      const { nft, table } = subject;
      const change = {
        ...masquerade(["10.88.0.0/16", "fd00::/64"]),
        install: ["masquerade", "ports"],
      } as const;
      await nft.write(table, change);
      const { generation: _first, ...first } = await nft.readRules(table);
      await nft.write(table, change);
      const { generation: _second, ...second } = await nft.readRules(table);
      expect(second).toEqual(first);
      expect(second.parts).toEqual(["masquerade", "ports"]);
    },
  },
  {
    title: "a wider network replaces narrower ones in one write",
    async run(subject) {
      await subject.nft.write(subject.table, masquerade(["10.1.0.0/16", "10.2.0.0/16"]));
      const change = masquerade(["10.0.0.0/8"], ["10.1.0.0/16", "10.2.0.0/16"]);
      await subject.nft.write(subject.table, change);
      expect(await networksOf(subject)).toEqual(["10.0.0.0/8"]);
    },
  },
  {
    title: "a network that overlaps is refused, and nothing of that write happens",
    async run(subject) {
      await subject.nft.write(subject.table, masquerade(["10.0.0.0/8"]));
      const write = subject.nft.write(subject.table, masquerade(["11.0.0.0/8", "10.1.0.0/16"]));
      await expect(write).rejects.toMatchObject({ kind: "conflict", op: "nft.element.add" });
      expect(await networksOf(subject)).toEqual(["10.0.0.0/8"]);
    },
  },
  {
    title: "removing a network that is not there is refused, and nothing of that write happens",
    async run({ nft, table }) {
      const write = nft.write(table, masquerade(["10.0.0.0/8"], ["11.0.0.0/8"]));
      await expect(write).rejects.toMatchObject({ kind: "not-found", op: "nft.element.delete" });
      expect(await nft.readRules(table)).toMatchObject({ parts: [], networks: [] });
    },
  },
  {
    title: "networks of the cluster are apart from those of pods; a thousand of both families are one write",
    async run({ nft, table }) {
      const four = Array.from({ length: 700 }, (_, index) => `10.${100 + (index >> 8)}.${index & 255}.0/24`);
      const six = Array.from({ length: 300 }, (_, index) => `fd00:${(index + 1).toString(16)}::/64`);
      const clusterNetworks = { add: [...four, ...six], remove: [] };
      await nft.write(table, { ...masquerade(["10.1.0.0/16"]), clusterNetworks });
      expect((await nft.readRules(table)).networks).toEqual(["10.1.0.0/16"]);
      const { networks, generation } = await nft.readClusterNetworks(table);
      expect(networks).toEqual([...four, ...six]);
      expect(generation).toBe(await nft.generation());
      await nft.write(table, { clusterNetworks: { add: six, remove: four } });
      expect((await nft.readClusterNetworks(table)).networks).toEqual(six);
      expect((await nft.readClusterNetworks(`${table}-none`)).networks).toEqual([]);
    },
  },
  {
    title: "a removed table is gone with all in it, and may be removed again",
    async run({ nft, table }) {
      await nft.write(table, { ...masquerade(["10.0.0.0/8"]), install: ["masquerade", "ports"] });
      await nft.removeTable(table);
      await nft.removeTable(table);
      expect(await nft.readRules(table)).toMatchObject({ parts: [], networks: [] });
    },
  },
  {
    title: "tables of other names are not touched",
    async run({ nft, table }) {
      const other = `${table}-other`;
      await nft.write(other, masquerade(["10.7.0.0/16"]));
      await nft.write(table, masquerade(["10.0.0.0/8"]));
      await nft.removeTable(table);
      expect((await nft.readRules(other)).networks).toEqual(["10.7.0.0/16"]);
      await nft.removeTable(other);
    },
  },
];

const portCases: readonly NftCase[] = [
  {
    title: "ports of both families and all protocols come back, with hairpins and bridges",
    async run({ nft, table }) {
      const hairpins = { add: ["10.88.0.2", "fd00::2", "fd00::2"], remove: none };
      await nft.write(table, { ...withPorts(...all), hairpins, bridges: ["trivet0", "trivet0"] });
      const found = await nft.readPorts(table);
      expect(new Set(found.ports)).toEqual(new Set(all));
      expect([...found.hairpins].sort()).toEqual(["10.88.0.2", "fd00::2"]);
      expect(found.bridges).toEqual(["trivet0"]);
    },
  },
  {
    title: "a port that is taken is refused, and nothing of that write happens",
    async run(subject) {
      await subject.nft.write(subject.table, withPorts(web));
      for (const taken of [web, { ...web, podAddress: "10.88.0.3" }]) {
        const write = subject.nft.write(subject.table, ports([dns, taken]));
        await expect(write).rejects.toMatchObject({ kind: "conflict", op: "nft.element.add" });
      }
      expect(await portsOf(subject)).toEqual([web]);
    },
  },
  {
    title: "removing is repeatable, and leaves what another pod has",
    async run(subject) {
      const { nft, table } = subject;
      await nft.write(table, withPorts(web, dns));
      const change = { ...ports([], [web]), hairpins: { add: none, remove: ["10.88.0.2", "10.88.0.2"] } };
      await nft.write(table, change);
      await nft.write(table, change);
      expect(await portsOf(subject)).toEqual([dns]);
      const others = nft.write(table, ports([], [web, { ...dns, podAddress: "10.88.0.9" }]));
      await expect(others).rejects.toMatchObject({ kind: "conflict", op: "nft.element.add" });
      expect(await portsOf(subject)).toEqual([dns]);
    },
  },
  {
    title: "two hundred ports of as many pods come and go in one write each, and are told missing in one",
    async run(subject) {
      const { nft, table } = subject;
      const many = Array.from({ length: 200 }, (_, index) => ({
        ...web,
        hostPort: 1_000 + index,
        podAddress: `10.88.1.${index}`,
      }));
      const pods = many.map(({ podAddress }) => podAddress);
      const removal = { ...ports([], many), hairpins: { add: [], remove: pods } };
      await expect(nft.write(table, removal)).rejects.toMatchObject({ kind: "not-found" });
      await nft.write(table, { ...withPorts(...many), hairpins: { add: pods, remove: [] } });
      expect(await portsOf(subject)).toHaveLength(200);
      await expect(nft.write(table, ports(many))).rejects.toMatchObject({ kind: "conflict" });
      await nft.write(table, removal);
      await nft.write(table, removal);
      expect(await nft.readPorts(table)).toMatchObject({ ports: [], hairpins: [] });
    },
  },
  {
    title: "one write hands a port over",
    async run(subject) {
      const successor = { ...web, podAddress: "10.88.0.3" };
      await subject.nft.write(subject.table, withPorts(web));
      await subject.nft.write(subject.table, ports([successor], [web]));
      expect(await portsOf(subject)).toEqual([successor]);
      await subject.nft.write(subject.table, ports([successor], [successor]));
      expect(await portsOf(subject)).toEqual([successor]);
    },
  },
  {
    title: "ports without their part of the rules are not-found",
    async run({ nft, table }) {
      await expect(nft.write(table, ports([web]))).rejects.toMatchObject({ kind: "not-found" });
      await expect(nft.write(table, ports([], [web]))).rejects.toMatchObject({ kind: "not-found" });
    },
  },
  {
    title:
      "what stands in the way of a port is found: the same address, every address, or any where every one is wanted",
    async run({ nft, table }) {
      await nft.write(table, withPorts(...all, { ...dns, hostIp: "192.0.2.2" }));
      const find = async (key: Partial<HostPort>) =>
        (await nft.findPorts(table, [{ ...dns, ...key }])).ports.map(({ hostIp }) => hostIp).sort();
      expect(await find({})).toEqual(["192.0.2.1"]);
      expect(await find({ hostIp: "192.0.2.3" })).toEqual([]);
      expect(await find({ hostIp: undefined })).toEqual(["192.0.2.1", "192.0.2.2"]);
      expect(await find({ protocol: "tcp" })).toEqual([]);
      expect((await nft.findPorts(table, [{ ...web, hostIp: "192.0.2.3" }])).ports).toEqual([web]);
      expect((await nft.findPorts(table, [{ ...web6, hostPort: 8081 }])).ports).toEqual([]);
    },
  },
  {
    title:
      "a write for a generation that has passed is busy and changes nothing; for the present one it is done",
    async run(subject) {
      const { nft, table } = subject;
      const before = await nft.generation();
      await nft.write(table, withPorts(web), before);
      const { generation } = await nft.readRules(table);
      expect(generation).toBe(before + 1);
      await expect(nft.write(table, ports([dns]), before)).rejects.toMatchObject({ kind: "busy" });
      expect(await portsOf(subject)).toEqual([web]);
      expect(await nft.generation()).toBe(generation);
    },
  },
];

export const nftContract: readonly NftCase[] = [...masqueradeCases, ...portCases];
