import { expect, test } from "vitest";
import type { AttachmentRecord } from "../../cni/state/attachments.ts";
import { joinRecords, leaseTable } from "./leases.ts";

const lease = {
  network: "pods",
  address: "10.42.7.2",
  containerId: "3c1d5f0a9be2171c",
  ifname: "eth0",
  pod: { namespace: "default", name: "web", uid: "u" },
  state: "committed" as const,
  createdAtMs: 1_000,
};

const record: AttachmentRecord = {
  ...lease,
  hostLink: "tv3683e1bf966c1",
  hostMac: "",
  podMac: "",
  netns: "",
  netnsInode: "",
  addresses: [lease.address],
  claim: "",
};

test("a lease is shown with its pod, the beginning of its container's id, its link and its age", () => {
  const nameless = {
    ...lease,
    address: "fd00::3",
    containerId: "other",
    state: "pending" as const,
    pod: { namespace: "", name: "", uid: "" },
    createdAtMs: 0,
  };
  expect(leaseTable(joinRecords([lease, nameless], [record]), 721_000).split("\n")).toEqual([
    "NETWORK  ADDRESS    POD          CONTAINER      INTERFACE  LINK             STATE      AGE",
    "pods     10.42.7.2  default/web  3c1d5f0a9be21  eth0       tv3683e1bf966c1  committed  12m",
    "pods     fd00::3    -            other          eth0       -                pending    -",
    "",
    "pods: 1 IPv4, 1 IPv6 leased, 1 pending",
    "",
  ]);
});

test("a record says how the link is connected; one of an earlier release means routed", () => {
  const modes = [undefined, "bridge", "ipam"] as const;
  const shown = modes.map((mode) => joinRecords([lease], [{ ...record, mode }])[0]);
  expect(shown.map((one) => [one?.mode, one?.link])).toEqual([
    ["routed", record.hostLink],
    ["bridge", record.hostLink],
    ["ipam", ""],
  ]);
});

test("without leases there is the heading alone", () => {
  expect(leaseTable([], 0).trim().split("\n")).toHaveLength(1);
});
