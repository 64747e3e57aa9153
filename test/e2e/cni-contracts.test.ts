/** The contracts of the network effects on the real kernel, in namespaces of their own. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createNetlink } from "../../src/host/netlink.ts";
import { createNetns, type NetnsHandle } from "../../src/host/netns.ts";
import { createNft } from "../../src/host/nft.ts";
import { createSyscalls } from "../../src/host/syscall.ts";
import { createSysctl } from "../../src/host/sysctl.ts";
import { netlinkContract } from "../contract/netlink.ts";
import { netnsContract } from "../contract/netns.ts";
import { nftContract } from "../contract/nft.ts";
import { sysctlContract } from "../contract/sysctl.ts";

const syscalls = createSyscalls();
const netns = createNetns(syscalls);
const names = ["host", "pod"].map((part) => `trivet-${process.pid}-${part}`);
const [hostName = "", podName = ""] = names;

const pathOf = (name: string) => `/run/netns/${name}`;

function open(name: string): NetnsHandle {
  const handle = netns.open(pathOf(name));
  if (!handle) throw new Error(`there is no namespace ${name}`);
  return handle;
}

beforeAll(() => {
  expect(process.getuid?.(), "these tests need root").toBe(0);
});

describe("in new namespaces", () => {
  let handles: NetnsHandle[] = [];

  beforeEach(() => {
    for (const name of names) execFileSync("ip", ["netns", "add", name]);
    handles = names.map(open);
    return () => {
      for (const handle of handles) handle.close();
      for (const name of names) execFileSync("ip", ["netns", "del", name]);
    };
  });

  describe("the kernel keeps the netlink contract", () => {
    test.each(netlinkContract)("$title", async ({ run }) => {
      const [host, pod] = handles as [NetnsHandle, NetnsHandle];
      await run({ netlink: createNetlink(syscalls, netns), host, pod });
    });
  });

  describe("the kernel keeps the nf_tables contract", () => {
    test.each(nftContract)("$title", async ({ run }) => {
      const [handle] = handles as [NetnsHandle];
      await run({ nft: createNft(syscalls, { namespaces: netns, netns: handle }), table: "trivet-test" });
    });
  });

  test("the nft program shows the rules as they are meant", async () => {
    const [handle] = handles as [NetnsHandle];
    const nft = createNft(syscalls, { namespaces: netns, netns: handle });
    const port = {
      family: 4,
      protocol: "tcp",
      hostPort: 8080,
      podAddress: "10.88.0.2",
      podPort: 80,
    } as const;
    await nft.write("trivet", {
      install: ["masquerade", "ports"],
      networks: { add: ["10.88.0.0/16", "fd00:88::/64"], remove: [] },
      ports: {
        add: [
          { ...port, hostIp: undefined },
          { ...port, hostIp: "192.0.2.1" },
        ],
        remove: [],
      },
      hairpins: { add: ["10.88.0.2"], remove: [] },
      bridges: ["trivet0"],
    });
    const argv = ["netns", "exec", hostName, "nft", "list", "table", "inet", "trivet"];
    const shown = execFileSync("ip", argv).toString();
    for (const line of [
      "elements = { 10.88.0.0/16 }",
      "elements = { fd00:88::/64 }",
      "elements = { tcp . 8080 : 10.88.0.2 . 80 }",
      "elements = { 192.0.2.1 . tcp . 8080 : 10.88.0.2 . 80 }",
      "elements = { 10.88.0.2 . 10.88.0.2 }",
      'elements = { "trivet0" . "trivet0" }',
      "ip saddr @pod_cidrs4 ip daddr != @pod_cidrs4 ip daddr != @cluster_cidrs4 ip daddr != 224.0.0.0/4 masquerade",
      "ip6 saddr @pod_cidrs6 ip6 daddr != @pod_cidrs6 ip6 daddr != @cluster_cidrs6 ip6 daddr != ff00::/8 masquerade",
      'iifname != "lo" ip saddr 127.0.0.0/8 drop',
      'iifname != "lo" ip daddr 127.0.0.0/8 drop',
      "fib daddr type local jump host_ports",
      "dnat ip to ip daddr . meta l4proto . th dport map @ip_ports4",
      "dnat ip to meta l4proto . th dport map @ports4",
      "ip6 daddr != ::1 dnat ip6 to meta l4proto . th dport map @ports6",
      'ip saddr 127.0.0.0/8 oifname != "lo" ct status dnat masquerade',
      "ip saddr . ip daddr @hairpin4 masquerade",
      "ip6 saddr . ip6 daddr @hairpin6 masquerade",
      "ct status dnat iifname . oifname @bridges masquerade",
    ]) {
      expect(shown).toContain(line);
    }
  });

  describe("the kernel keeps the netns contract", () => {
    const directory = mkdtempSync(join(tmpdir(), "trivet-netns-"));
    afterAll(() => rmSync(directory, { recursive: true }));

    test.each(netnsContract)("$title", async ({ run }) => {
      const plainFile = join(directory, "plain");
      writeFileSync(plainFile, "");
      const missing = join(directory, "none");
      await run({ netns, first: pathOf(hostName), second: pathOf(podName), plainFile, missing });
    });
  });
});

describe("/proc/sys keeps the contract", () => {
  test.each(sysctlContract)("$title", ({ run }) =>
    run({ sysctl: createSysctl(netns), name: "net.ipv4.neigh.lo.gc_stale_time" }),
  );
});
