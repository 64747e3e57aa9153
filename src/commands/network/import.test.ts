import { expect, it } from "vitest";
import { importTable } from "./import.ts";

const row = {
  ...{
    network: "pods",
    address: "10.42.0.2",
    containerId: "3c1d5f0a9be2171c",
    ifname: "eth0",
    pod: "default/web",
  },
  ...{ outcome: "import" as const, detail: "/run/netns/x" },
};

it("the table says what would be done, and what was done", () => {
  const dead = { ...row, pod: "", outcome: "dead" as const, detail: "no namespace has this address" };
  expect(importTable([row, dead], false).split("\n")).toEqual([
    "NETWORK  ADDRESS    POD          CONTAINER      INTERFACE  OUTCOME       DETAIL",
    "pods     10.42.0.2  default/web  3c1d5f0a9be21  eth0       would import  /run/netns/x",
    "pods     10.42.0.2  -            3c1d5f0a9be21  eth0       dead          no namespace has this address",
    "1 of 2 addresses to import; nothing was written: use --apply",
    "",
  ]);
  expect(importTable([row], true)).toContain("1 of 1 addresses imported\n");
  expect(importTable([], false)).toBe("0 of 0 addresses to import; nothing was written: use --apply\n");
});
