import { expect, it } from "vitest";
import { leaseTable } from "./leases.ts";

it("a lease is shown with its pod, the beginning of its container's id, and its age", () => {
  const lease = {
    network: "pods",
    address: "10.42.7.2",
    containerId: "3c1d5f0a9be2171c",
    ifname: "eth0",
    pod: { namespace: "default", name: "web", uid: "u" },
    state: "committed" as const,
    createdAtMs: 1_000,
  };
  const nameless = {
    ...lease,
    address: "10.42.7.3",
    pod: { namespace: "", name: "", uid: "" },
    createdAtMs: 0,
  };
  expect(leaseTable([lease, nameless], 721_000).split("\n")).toEqual([
    "NETWORK  ADDRESS    POD          CONTAINER      INTERFACE  STATE      AGE",
    "pods     10.42.7.2  default/web  3c1d5f0a9be21  eth0       committed  12m",
    "pods     10.42.7.3  -            3c1d5f0a9be21  eth0       committed  -",
    "",
  ]);
});
