import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { createFakeFiles } from "../../../test/fakes/files.ts";
import { settingsOf } from "../doctor.ts";
import type { DoctorDeps } from "./gather.ts";
import { gatherDaemon, gatherProxy } from "./gather-daemon.ts";
import { gatherKernel } from "./gather-kernel.ts";
import { isShared } from "./gather-kubelet.ts";
import { networkOf } from "./gather-runtime.ts";
import { holderOf } from "./gather-sockets.ts";

describe("where doctor looks", () => {
  const given = { output: "table" };
  it("is what was asked for, before what the node shows, before what is usual", () => {
    const found = { kubeletRoot: "/data/kubelet", criSocket: "/run/other.sock" };
    expect(settingsOf(given)).toMatchObject({ kubeletRoot: "/var/lib/kubelet" });
    expect(settingsOf(given, found)).toMatchObject({
      ...found,
      csiSocket: "/data/kubelet/plugins/local.csi.trivet.dev/csi.sock",
    });
    expect(settingsOf({ ...given, criSocket: "unix:///run/x.sock" }, found)).toMatchObject({
      criSocket: "/run/x.sock",
    });
  });
  it("is where the distribution has it that runs, or that was named", () => {
    const k3s = "/run/k3s/containerd/containerd.sock";
    expect(settingsOf(given, { distribution: "k3s" }).criSocket).toBe(k3s);
    expect(settingsOf({ ...given, distribution: "k3s" }, { criSocket: "/x" }).criSocket).toBe(k3s);
    expect(settingsOf(given, { distribution: "k0s" }).kubeletRoot).toBe("/var/lib/k0s/kubelet");
  });
});

describe("what containerd says of its networks", () => {
  it("is where it looks, whether it starts loopback, and whether it could load them", () => {
    const cniconfig = JSON.stringify({
      ...{ PluginDirs: ["/a", "/b"], PluginConfDir: "/c", PluginMaxConfNum: 1 },
      Networks: [{ Config: { Name: "cni-loopback" } }],
    });
    const read = { binDirs: ["/a", "/b"], confDir: "/c", maxConfNum: 1, usesLoopbackPlugin: true };
    expect(networkOf({ cniconfig, lastCNILoadStatus: "OK" })).toEqual(read);
    expect(networkOf({ cniconfig, lastCNILoadStatus: "failed" })).toEqual({ ...read, loadProblem: "failed" });
    expect(networkOf({})).toBeUndefined();
    expect(networkOf({ cniconfig: "{" })).toBeUndefined();
  });
});

describe("the mount table", () => {
  const table = [
    "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw",
    "30 22 8:2 / /var/lib/kubelet rw - ext4 /dev/sdb rw",
    "31 22 8:3 / /var/lib/with\\040space rw shared:7 master:1 - ext4 /dev/sdc rw",
  ].join("\n");
  it.each([
    ["/var/lib/kubelet", false],
    ["/var/lib/kubelet/pods", false],
    ["/var/lib/kubelet2", true],
    ["/var/lib/with space/x", true],
  ])("tells whether what is mounted below %s is passed on", (path, expected) => {
    expect(isShared(table, path)).toBe(expected);
  });
  it("tells nothing where it is empty", () => expect(isShared("", "/x")).toBeUndefined());
});

describe("who listens", () => {
  const holder = { pid: 7, argv: ["node"] };
  it.each([
    ["/run/a.sock", true],
    ["/run/.7.a.sock", true],
    ["/run/.7.a.s", true],
    ["/run/.7.b.sock", false],
    ["/other/.7.a.sock", false],
  ])("of a socket bound as %s is known by its public name: %s", (bound, isFound) => {
    expect(holderOf(new Map([[bound, holder]]), "/run/a.sock")).toBe(isFound ? holder : undefined);
  });
});

describe("the kernel", () => {
  const release = "6.1.0";
  async function kernel(files: Readonly<Record<string, string | Buffer>>) {
    const directories = ["/proc/sys/kernel", `/lib/modules/${release}`, "/sys/module", "/dev", "/boot"];
    const disk = createFakeFiles({ directories });
    const all = { "/proc/sys/kernel/osrelease": `${release}\n`, ...files };
    for (const [path, text] of Object.entries(all)) await disk.create(path, Buffer.from(text), 0o644);
    return (await gatherKernel({ files: disk } as unknown as DoctorDeps)).features;
  }
  const builtin = `/lib/modules/${release}/modules.builtin`;
  const loadable = `/lib/modules/${release}/modules.dep`;
  const options = (text: string) => ({ "/proc/config.gz": gzipSync(text) });
  it.each([
    ["loaded", { "/proc/modules": "veth 1 0 - Live\n" }, "veth", "there"],
    ["built in, as its list says", { [builtin]: "kernel/drivers/net/veth.ko\n" }, "veth", "there"],
    ["built in, as its configuration says", options("CONFIG_VETH=y\n"), "veth", "there"],
    ["to be loaded", { [loadable]: "kernel/net/netfilter/nft-masq.ko.xz: x\n" }, "nft_masq", "there"],
    ["left out", options("# CONFIG_VETH is not set\n"), "veth", "missing"],
    ["not installed", { ...options("CONFIG_VETH=m\n"), [loadable]: "kernel/x.ko:\n" }, "veth", "missing"],
    ["a module of which nobody knows", options("CONFIG_VETH=m\n"), "veth", "unknown"],
    ["not in its complete lists", { [builtin]: "kernel/x.ko\n" }, "veth", "missing"],
    ["a part of a module, in no list", { [builtin]: "kernel/x.ko\n" }, "xfs_quota", "unknown"],
    ["something of which nothing is known", {}, "veth", "unknown"],
    [
      "in the configuration of /boot",
      { [`/boot/config-${release}`]: "CONFIG_XFS_QUOTA=y\n" },
      "xfs_quota",
      "there",
    ],
  ] as const)("tells what is %s", async (_, files, name, expected) => {
    expect((await kernel(files))[name]).toBe(expected);
  });
});

describe("what trivet node says of itself", () => {
  const settings = { healthUrl: "http://h", proxyMetricsUrl: "http://p" } as DoctorDeps["settings"];
  const serving = (answers: Readonly<Record<string, readonly [status: number, body: string]>>) => ({
    settings,
    get: async (url: string) => {
      const [status, body] = answers[url] ?? [];
      if (status === undefined || body === undefined) throw new Error("ECONNREFUSED");
      return { status, body };
    },
  });
  const metrics = [
    'trivet_build_info{version="1.2.3",node="24.0.0"} 1',
    "# TYPE trivet_csi_calls_total counter",
    "trivet_csi_registered 0",
    'trivet_degraded{what="pool-quarantined",subject="a\\"b"} 1',
    "trivet_cni_sweep_failures_total 2",
  ].join("\n");
  it("is read from its health and its metrics", async () => {
    const deps = serving({ "http://h/readyz": [503, "starting\n"], "http://h/metrics": [200, metrics] });
    expect(await gatherDaemon(deps)).toEqual({
      ...{ healthUrl: "http://h", notReady: { value: "starting" }, version: "1.2.3", sweepFailures: 2 },
      ...{ servesVolumes: true, servesNetwork: false, isRegistered: false },
      degraded: [{ what: "pool-quarantined", subject: 'a\\"b' }],
    });
  });
  it.each([
    ["nobody", {}, "ECONNREFUSED"],
    ["somebody else", { "http://h/readyz": [200, "ok"], "http://h/metrics": [200, ""] }, "not trivet node"],
  ] as const)("is not known where %s answers", async (_, answers, why) => {
    const { notReady } = await gatherDaemon(serving(answers));
    expect(notReady).toEqual({ unknown: expect.stringContaining(why) });
  });
  it("is for the proxy what it counts, and nothing where its metrics are off", async () => {
    expect(await gatherProxy(serving({}))).toBeUndefined();
    const text = [
      "# TYPE trivet_cri_calls_total counter",
      'trivet_cri_reloads_total{what="policies",result="ok"} 5',
      'trivet_cri_reloads_total{what="process",result="failed"} 1',
      "trivet_cri_records_lost_total 3",
      'trivet_cri_unimplemented_total{method="StreamPods"} 2',
      'trivet_cri_unknown_fields_total{field="ContainerConfig.19"} 0',
    ].join("\n");
    expect(await gatherProxy(serving({ "http://p/metrics": [200, text] }))).toEqual({
      ...{ failedReloads: 1, recordsLost: 3, unimplemented: ["StreamPods"], unknownToUs: [] },
    });
  });
});
