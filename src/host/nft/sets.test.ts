import { expect, test } from "vitest";
import { cidrsOfElements, readElements, writeElements } from "./sets.ts";

/** A dump's message around the elements that a request would send. */
const dumped = (...cidrs: string[]) =>
  cidrs.flatMap((cidr) =>
    readElements(Buffer.concat([Buffer.alloc(4), writeElements("t", "s", cidr).finish()])),
  );

test.each(["10.0.0.0/8", "0.0.0.0/0", "255.255.255.255/32", "128.0.0.0/1", "10.1.2.3/32"])(
  "%s comes back from its elements",
  (cidr) => {
    expect(cidrsOfElements(dumped(cidr))).toEqual([cidr]);
  },
);

test("adjacent networks are told apart, in whatever order their elements come", () => {
  const elements = dumped("10.1.0.0/16", "10.0.0.0/16");
  const both = ["10.0.0.0/16", "10.1.0.0/16"];
  expect(cidrsOfElements(elements)).toEqual(both);
  expect(cidrsOfElements([...elements].reverse())).toEqual(both);
});

test("the kernel's marker at the start of the address space is no network", () => {
  const marker = { key: 0, intervalEnd: true };
  expect(cidrsOfElements([marker, ...dumped("10.0.0.0/8")])).toEqual(["10.0.0.0/8"]);
});
