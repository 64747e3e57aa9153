/** What `Nft` promises, as cases for the fake and for the kernel. */
import { expect } from "vitest";
import type { Nft } from "../../src/host/nft.ts";

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

export const nftContract: readonly NftCase[] = [
  {
    title: "a table that is not there has no rule and no networks",
    async run({ nft, table }) {
      expect(await nft.readMasquerade(table)).toEqual({ ruleInstalled: false, cidrs: [] });
    },
  },
  {
    title: "one write makes the rule and the networks, of any length",
    async run({ nft, table }) {
      const add = ["10.88.0.0/16", "10.0.0.0/24", "128.0.0.0/1", "10.0.1.4/32"];
      await nft.writeMasquerade(table, { add, remove: none });
      expect(await nft.readMasquerade(table)).toEqual({
        ruleInstalled: true,
        cidrs: ["10.0.0.0/24", "10.0.1.4/32", "10.88.0.0/16", "128.0.0.0/1"],
      });
    },
  },
  {
    title: "adjacent networks stay two",
    async run({ nft, table }) {
      await nft.writeMasquerade(table, { add: ["10.1.0.0/16"], remove: none });
      await nft.writeMasquerade(table, { add: ["10.0.0.0/16"], remove: none });
      expect((await nft.readMasquerade(table)).cidrs).toEqual(["10.0.0.0/16", "10.1.0.0/16"]);
    },
  },
  {
    title: "the same write twice is the same as once",
    async run({ nft, table }) {
      const change = { add: ["10.88.0.0/16"], remove: none };
      await nft.writeMasquerade(table, change);
      const first = await nft.readMasquerade(table);
      await nft.writeMasquerade(table, change);
      expect(await nft.readMasquerade(table)).toEqual(first);
    },
  },
  {
    title: "a wider network replaces narrower ones in one write",
    async run({ nft, table }) {
      await nft.writeMasquerade(table, { add: ["10.1.0.0/16", "10.2.0.0/16"], remove: none });
      await nft.writeMasquerade(table, { add: ["10.0.0.0/8"], remove: ["10.1.0.0/16", "10.2.0.0/16"] });
      expect((await nft.readMasquerade(table)).cidrs).toEqual(["10.0.0.0/8"]);
    },
  },
  {
    title: "a network that overlaps is refused, and nothing of that write happens",
    async run({ nft, table }) {
      await nft.writeMasquerade(table, { add: ["10.0.0.0/8"], remove: none });
      const write = nft.writeMasquerade(table, { add: ["11.0.0.0/8", "10.1.0.0/16"], remove: none });
      await expect(write).rejects.toMatchObject({ kind: "conflict", op: "nft.element.add" });
      expect((await nft.readMasquerade(table)).cidrs).toEqual(["10.0.0.0/8"]);
    },
  },
  {
    title: "removing a network that is not there is refused, and nothing of that write happens",
    async run({ nft, table }) {
      const write = nft.writeMasquerade(table, { add: ["10.0.0.0/8"], remove: ["11.0.0.0/8"] });
      await expect(write).rejects.toMatchObject({ kind: "not-found", op: "nft.element.delete" });
      expect(await nft.readMasquerade(table)).toEqual({ ruleInstalled: false, cidrs: [] });
    },
  },
  {
    title: "a removed table is gone with all in it, and may be removed again",
    async run({ nft, table }) {
      await nft.writeMasquerade(table, { add: ["10.0.0.0/8"], remove: none });
      await nft.removeTable(table);
      await nft.removeTable(table);
      expect(await nft.readMasquerade(table)).toEqual({ ruleInstalled: false, cidrs: [] });
    },
  },
  {
    title: "tables of other names are not touched",
    async run({ nft, table }) {
      const other = `${table}-other`;
      await nft.writeMasquerade(other, { add: ["10.7.0.0/16"], remove: none });
      await nft.writeMasquerade(table, { add: ["10.0.0.0/8"], remove: none });
      await nft.removeTable(table);
      expect((await nft.readMasquerade(other)).cidrs).toEqual(["10.7.0.0/16"]);
      await nft.removeTable(other);
    },
  },
];
