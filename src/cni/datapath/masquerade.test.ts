import { describe, expect, test } from "vitest";
import { createFakeNft } from "../../../test/fakes/nft.ts";
import { type IpNetwork, networkOf, parseCidr } from "../ipam/address.ts";
import { createMasquerade, masqueradeTable, planMasquerade } from "./masquerade.ts";

function networks(...texts: string[]): IpNetwork[] {
  return texts.flatMap((text) => {
    const cidr = parseCidr(text);
    return cidr ? [networkOf(cidr)] : [];
  });
}

describe("planMasquerade", () => {
  const rows: readonly (readonly [string, string[], string[], object | undefined])[] = [
    ["nothing is there", [], ["10.0.0.0/16"], { add: ["10.0.0.0/16"], remove: [] }],
    ["all is there", ["10.0.0.0/16"], ["10.0.0.0/16"], undefined],
    ["a wider network is there", ["10.0.0.0/8"], ["10.0.0.0/16"], undefined],
    [
      "narrower networks are there",
      ["10.1.0.0/16", "10.2.0.0/16", "11.0.0.0/16"],
      ["10.0.0.0/8"],
      { add: ["10.0.0.0/8"], remove: ["10.1.0.0/16", "10.2.0.0/16"] },
    ],
    [
      "one wanted network holds another",
      [],
      ["10.1.0.0/16", "10.0.0.0/8"],
      { add: ["10.0.0.0/8"], remove: [] },
    ],
    ["a network is wanted twice", [], ["10.0.0.0/8", "10.0.0.0/8"], { add: ["10.0.0.0/8"], remove: [] }],
  ];

  test.each(rows)("when %s", (_title, cidrs, wanted, plan) => {
    expect(planMasquerade({ ruleInstalled: true, cidrs }, networks(...wanted))).toEqual(plan);
  });

  test("a missing rule is put back, even if the networks are all there", () => {
    const state = { ruleInstalled: false, cidrs: ["10.0.0.0/16"] };
    expect(planMasquerade(state, networks("10.0.0.0/16"))).toEqual({ add: [], remove: [] });
  });
});

describe("createMasquerade", () => {
  test("asks the kernel once for a network, and then never again", async () => {
    const nft = createFakeNft();
    const effects: string[] = [];
    nft.onEffect = (op, _table, when) => void (when === "before" && effects.push(op));
    const masquerade = createMasquerade(nft);
    await Promise.all([1, 2, 3].map(() => masquerade.ensure(networks("10.0.0.0/16"))));
    await masquerade.ensure(networks("10.0.0.0/16"));
    expect(effects).toEqual(["nft.read", "nft.write"]);
  });

  test("leaves a set alone that another process filled", async () => {
    const nft = createFakeNft(new Map([[masqueradeTable, new Set(["10.0.0.0/16"])]]));
    const effects: string[] = [];
    nft.onEffect = (op) => void effects.push(op);
    await createMasquerade(nft).ensure(networks("10.0.0.0/16"));
    expect(effects).not.toContain("nft.write");
  });

  test("looks again when another process changed the set in between", async () => {
    const nft = createFakeNft();
    let interfered = false;
    nft.onEffect = (op, _table, when) => {
      if (op !== "nft.write" || when !== "before" || interfered) return;
      interfered = true;
      nft.tables.set(masqueradeTable, new Set(["10.1.0.0/16"]));
    };
    await createMasquerade(nft).ensure(networks("10.0.0.0/8"));
    expect([...(nft.tables.get(masqueradeTable) ?? [])]).toEqual(["10.0.0.0/8"]);
  });

  test("a failure is not remembered as success", async () => {
    const nft = createFakeNft();
    nft.onEffect = () => {
      throw new Error("refused");
    };
    const masquerade = createMasquerade(nft);
    await expect(masquerade.ensure(networks("10.0.0.0/16"))).rejects.toThrow("refused");
    nft.onEffect = undefined;
    await masquerade.ensure(networks("10.0.0.0/16"));
    expect(nft.tables.has(masqueradeTable)).toBe(true);
  });
});
