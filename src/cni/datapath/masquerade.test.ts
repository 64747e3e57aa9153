import { expect, test } from "vitest";
import { parseNetworks, planMasquerade } from "./masquerade.ts";

const rows: readonly (readonly [string, string[], string[], object | undefined])[] = [
  ["nothing is there", [], ["10.0.0.0/16"], { add: ["10.0.0.0/16"], remove: [] }],
  ["all is there", ["10.0.0.0/16"], ["10.0.0.0/16"], undefined],
  ["a wider network is there", ["10.0.0.0/8"], ["10.0.0.0/16"], undefined],
  ["the other family is there", ["10.0.0.0/8"], ["fd00::/64"], { add: ["fd00::/64"], remove: [] }],
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
  expect(planMasquerade(cidrs, parseNetworks(wanted))).toEqual(plan);
});
