import { expect, test } from "vitest";
import { parseOwnIpam } from "../protocol/ipam-config.ts";
import { createProblems } from "../protocol/problems.ts";
import { addressAt, candidates, poolSize, type RangeSet } from "./pool.ts";

function setOf(...ranges: object[]): RangeSet {
  const problems = createProblems("test");
  const [set] = parseOwnIpam({ ranges: [ranges] }, problems).rangeSets;
  problems.throwIfAny();
  if (!set) throw new Error("no set");
  return set;
}

const listed = (set: RangeSet, start: bigint) => [...candidates(set, start)].map(({ address }) => address);

test("network, broadcast and gateway addresses are never offered", () => {
  const set = setOf({ subnet: "10.0.0.0/29" });
  expect(listed(set, 0n)).toEqual(["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
});

test("a gateway in the middle is left out, and the first address is offered then", () => {
  const set = setOf({ subnet: "10.0.0.0/29", gateway: "10.0.0.3" });
  expect(listed(set, 0n)).toEqual(["10.0.0.1", "10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
});

test("rangeStart and rangeEnd bound it, both inclusive", () => {
  const set = setOf({ subnet: "10.0.0.0/24", rangeStart: "10.0.0.20", rangeEnd: "10.0.0.22" });
  expect(listed(set, 0n)).toEqual(["10.0.0.20", "10.0.0.21", "10.0.0.22"]);
  expect(poolSize(set)).toBe(3n);
});

test("the offer goes through all ranges of the set and around the end", () => {
  const set = setOf(
    { subnet: "10.0.0.0/24", rangeStart: "10.0.0.10", rangeEnd: "10.0.0.11" },
    { subnet: "10.0.1.0/24", rangeStart: "10.0.1.10", rangeEnd: "10.0.1.11" },
  );
  expect(listed(set, 3n)).toEqual(["10.0.1.11", "10.0.0.10", "10.0.0.11", "10.0.1.10"]);
});

test("there is nothing past the end", () => {
  expect(addressAt(setOf({ subnet: "10.0.0.0/30" }), 99n)).toBeUndefined();
});
