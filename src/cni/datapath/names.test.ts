import fc from "fast-check";
import { expect, test } from "vitest";
import { hostLinkName, linkMac } from "./names.ts";

const key = { network: "pods", containerId: "c1", ifname: "eth0" };

test("names and MACs stay what they are: a DEL after an upgrade must find the link", () => {
  expect(hostLinkName(key)).toBe("tv3683e1bf966c1");
  expect(linkMac("host", key)).toBe("82:c3:40:b6:b2:13");
  expect(linkMac("pod", key)).toBe("36:2d:d9:71:c6:64");
});

test("every name fits an interface, every MAC is unicast and locally administered", () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (containerId, ifname) => {
      const some = { network: "pods", containerId, ifname };
      expect(hostLinkName(some)).toMatch(/^tv[0-9a-f]{13}$/);
      for (const end of ["host", "pod"] as const) {
        expect(Number.parseInt(linkMac(end, some).slice(0, 2), 16) & 0x03).toBe(0x02);
      }
    }),
  );
});

test("the parts of a key do not run into one another", () => {
  const left = hostLinkName({ network: "a", containerId: "bc", ifname: "d" });
  expect(hostLinkName({ network: "ab", containerId: "c", ifname: "d" })).not.toBe(left);
  expect(hostLinkName({ network: "a", containerId: "b", ifname: "cd" })).not.toBe(left);
  expect(linkMac("host", key)).not.toBe(linkMac("pod", key));
});
