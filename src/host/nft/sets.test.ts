import { expect, test } from "vitest";
import { hairpinElement, portElement, readHairpin, readPort } from "./ports.ts";
import { cidrsOfElements, networkElements, readElements, type SetElement, writeElements } from "./sets.ts";

/** A dump's message around the elements that a request would send. */
const dumped = (...elements: SetElement[]) =>
  readElements(Buffer.concat([Buffer.alloc(4), writeElements("t", "s", elements).finish()]));

test.each([
  "10.0.0.0/8",
  "0.0.0.0/0",
  "255.255.255.255/32",
  "128.0.0.0/1",
  "10.1.2.3/32",
  "fd00::/8",
  "::/0",
  "ff00::/8",
  "2001:db8::1/128",
])("%s comes back from its elements", (cidr) => {
  expect(cidrsOfElements(dumped(...networkElements(cidr)))).toEqual([cidr]);
});

test("adjacent networks are told apart, in whatever order their elements come", () => {
  const elements = dumped(...networkElements("10.1.0.0/16"), ...networkElements("10.0.0.0/16"));
  const both = ["10.0.0.0/16", "10.1.0.0/16"];
  expect(cidrsOfElements(elements)).toEqual(both);
  expect(cidrsOfElements([...elements].reverse())).toEqual(both);
});

test("the kernel's marker at the start of the address space is no network", () => {
  const marker = { key: Buffer.alloc(4), intervalEnd: true };
  expect(cidrsOfElements([marker, ...networkElements("10.0.0.0/8")])).toEqual(["10.0.0.0/8"]);
});

test("a host port comes back from its element, of every family and protocol, with and without an address", () => {
  for (const protocol of ["tcp", "udp", "sctp"] as const) {
    for (const [family, podAddress, someIp] of [
      [4, "10.88.0.2", "192.0.2.1"],
      [6, "fd00::2", "2001:db8::1"],
    ] as const) {
      for (const hostIp of [undefined, someIp]) {
        const port = { family, protocol, hostPort: 65_535, hostIp, podAddress, podPort: 80 };
        expect(dumped(portElement(port)).flatMap((element) => readPort(family, element))).toEqual([port]);
      }
    }
  }
});

test("a hairpin comes back as its address", () => {
  for (const address of ["10.88.0.2", "fd00::2"]) {
    expect(dumped(hairpinElement(address)).map(readHairpin)).toEqual([address]);
  }
});
