import { stripVTControlCharacters } from "node:util";
import { describe, expect, it } from "vitest";
import type { PoolStatus } from "../../csi/pool/pool.ts";
import type { MountInfo } from "../../host/mount.ts";
import type { KubeletSetup } from "../../install/kubelet/setup.ts";
import { settingsOf } from "../doctor.ts";
import { diagnose } from "./diagnose.ts";
import type { DiskFacts, NodeFacts, RuntimeNetwork } from "./facts.ts";
import type { Finding } from "./finding.ts";
import { isShared } from "./gather-kubelet.ts";
import { networkOf } from "./gather-runtime.ts";
import { holderOf } from "./gather-sockets.ts";
import { formatReport } from "./report.ts";

const conflist = JSON.stringify({ cniVersion: "1.0.0", name: "pods", plugins: [{ type: "trivet" }] });
const GiB = 2 ** 30;

const pool: PoolStatus = {
  ...{
    name: "default",
    path: "/var/lib/trivet/pool",
    backend: "quota",
    enforced: true,
    how: "XFS project quota",
  },
  ...{ state: "ready", budgetBytes: 100 * GiB, reservedBytes: 10 * GiB, availableBytes: 90 * GiB },
  ...{ volumes: 3, trashed: 0, quarantined: [] },
};
const space = {
  ...{ type: 0x58465342, totalBytes: 100 * GiB, freeBytes: 80 * GiB, availableBytes: 80 * GiB },
  ...{ totalInodes: 1000, freeInodes: 900 },
};
const runtime = { name: "containerd", version: "v1.7.40", notReady: [] };
const setup: KubeletSetup = {
  ...{
    distribution: "kubeadm",
    process: { pid: 1, startTicks: 1n, argv: [], service: undefined },
    service: "kubelet.service",
  },
  ...{
    runtime: { place: { kind: "configuration", path: "/c" }, path: "/run/trivet/cri.sock" },
    image: undefined,
  },
  ...{ healthUrl: undefined, notes: [] },
};

const mount: MountInfo = {
  ...{ id: 1, parentId: 0, device: "8:1", root: "/", mountPoint: "/data", fsType: "xfs" },
  ...{ source: "/dev/sdb1", options: ["rw"], superOptions: ["rw", "prjquota"] },
};
const disk: DiskFacts = { space, mount, quotas: { value: "enforced" }, isInFstab: false };
const network: RuntimeNetwork = {
  ...{ binDirs: ["/opt/cni/bin"], confDir: "/etc/cni/net.d", maxConfNum: 1, usesLoopbackPlugin: true },
};

/** A node on which everything is as it should be. */
const well: NodeFacts = {
  daemon: {
    ...{ healthUrl: "http://127.0.0.1:9808", notReady: { value: undefined }, version: "0.1.0" },
    ...{ servesVolumes: true, servesNetwork: true, isRegistered: true, degraded: [], sweepFailures: 0 },
  },
  proxy: { recordsLost: 0, failedReloads: 0, unimplemented: [], unknownToUs: [] },
  kernel: {
    release: "6.1.0",
    features: Object.fromEntries(
      ["veth", "nf_tables", "nft_masq", "nft_nat", "overlay", "loop", "bridge", "xfs_quota", "quota_v2"].map(
        (name) => [name, "there" as const],
      ),
    ),
    fileSystems: ["ext4", "xfs"],
  },
  storage: {
    pools: { value: [{ status: pool, disk }] },
    configured: [],
    ...{ abnormal: { value: [] }, orphans: { value: {} }, missingPrograms: [] },
  },
  network: {
    configurations: new Map([["10-trivet.conflist", conflist]]),
    ...{ confDir: "/etc/cni/net.d", binDir: "/opt/cni/bin", plugin: "native", loopback: true },
    ...{ strayed: [], agentAnswers: true },
    status: { value: undefined },
  },
  runtime: {
    ...{ socket: "/run/containerd/containerd.sock", direct: { value: runtime } },
    ...{ proxySocket: "/run/trivet/cri.sock", proxied: { value: runtime }, proxyIsThere: true },
    network,
  },
  kubelet: {
    ...{ setup: { value: setup }, version: [1, 31], root: "/var/lib/kubelet", isShared: true },
    ...{ registersItself: true, hasRegistrar: false, endpoint: "/run/trivet/cri.sock" },
  },
  sockets: [{ path: "/run/trivet/cri.sock", serves: "the CRI proxy", state: "answers", mode: 0o600, uid: 0 }],
  install: {
    ...{
      own: "0.1.0",
      current: "0.1.0",
      currentIsWhole: true,
      proxy: "0.1.0",
      unfinished: [],
      proxyAtBoot: true,
    },
  },
};

/** The node with parts changed, one level deep. */
function node(changes: { [Part in keyof NodeFacts]?: Partial<NodeFacts[Part]> }): NodeFacts {
  const parts = Object.entries(well).map(([name, part]) => {
    const change = changes[name as keyof NodeFacts];
    if (change === undefined) return [name, part];
    return [name, Array.isArray(change) ? change : { ...part, ...change }];
  });
  return Object.fromEntries(parts) as NodeFacts;
}

const withPool = (
  changes: Partial<PoolStatus>,
  changedSpace: Partial<typeof space> = {},
  changedDisk: Partial<DiskFacts> = {},
) => {
  const below = { ...disk, ...changedDisk, space: { ...space, ...changedSpace } };
  return node({ storage: { pools: { value: [{ status: { ...pool, ...changes }, disk: below }] } } });
};

const wrong = (facts: NodeFacts) =>
  diagnose(facts).filter(({ level }) => level === "error" || level === "warning");

describe("doctor", () => {
  it("finds nothing wrong on a node where everything is as it should be", () => {
    expect(diagnose(well).filter(({ level }) => level !== "ok")).toEqual([]);
  });

  const rows: [string, NodeFacts, Partial<Finding> & { cause: unknown }][] = [
    [
      "an old kernel",
      node({ kernel: { release: "5.10.0" } }),
      { level: "error", area: "kernel", cause: expect.stringContaining("5.14") },
    ],
    [
      "a kernel without nf_tables",
      node({ kernel: { features: { ...well.kernel.features, nf_tables: "missing" } } }),
      { level: "error", area: "kernel", subject: "nf_tables", cause: expect.any(String) },
    ],
    [
      "a daemon that is away",
      node({ storage: { pools: { unknown: "no daemon answers" } } }),
      { level: "error", area: "storage", cause: "no daemon answers" },
    ],
    [
      "a pool whose disk is not mounted",
      withPool({ state: "unavailable", reason: "not mounted" }),
      { level: "error", subject: "pool default", cause: "not mounted" },
    ],
    [
      "a pool without limits, and the command that would change it is the remedy and not the cause",
      withPool({ enforced: false, advice: 'quotas are off; run "x"', lacks: "quotas are off" }),
      {
        ...{ level: "warning", cause: "quotas are off" },
        remedy: expect.stringContaining("umount /data && mount -o prjquota /dev/sdb1 /data"),
        commands: ["umount /data && mount -o prjquota /dev/sdb1 /data"],
      },
    ],
    [
      "a pool on a kernel that has no quotas for its disk, for which no command is made up",
      {
        ...withPool({ enforced: false, lacks: "ENOSYS" }),
        kernel: { ...well.kernel, features: { ...well.kernel.features, xfs_quota: "missing" } },
      },
      { level: "warning", cause: "ENOSYS", remedy: expect.stringContaining("CONFIG_XFS_QUOTA") },
    ],
    [
      "a directory of the pool that passes a project on",
      withPool({ enforced: false, lacks: '/data passes project 9 on: clear that with "chattr -P /data"' }),
      { level: "warning", cause: expect.any(String), commands: ["chattr -P /data"] },
    ],
    [
      "the disk of a pool without limits while the daemon is away",
      node({
        storage: {
          pools: { unknown: "no daemon answers" },
          configured: [
            {
              name: "fast",
              path: "/data/pool",
              backend: "auto",
              disk: { ...disk, quotas: { value: "off" } },
            },
          ],
        },
      }),
      {
        ...{ level: "warning", subject: "pool fast", cause: "quotas are off, at /data/pool" },
        commands: ["umount /data && mount -o prjquota /dev/sdb1 /data"],
      },
    ],
    [
      "a pool that is to have quotas and cannot",
      withPool({
        ...{ state: "unavailable", backend: "quota" },
        reason: 'pool "default" is to have quotas and cannot: they are off; run "x"',
      }),
      {
        ...{ level: "error", cause: 'pool "default" is to have quotas and cannot: they are off' },
        remedy: expect.stringContaining("prjquota"),
      },
    ],
    [
      "a pool whose root others may change, with the command of its reason",
      withPool({ state: "unavailable", reason: 'others may change it: run "chmod go-w /data"' }),
      { level: "error", cause: expect.any(String), commands: ["chmod go-w /data"] },
    ],
    [
      "a pool whose disk fstab knows",
      withPool({ state: "unavailable", reason: "is its disk mounted?" }, {}, { isInFstab: true }),
      { level: "error", cause: expect.any(String), commands: ["mount /var/lib/trivet/pool"] },
    ],
    [
      "a pool on tmpfs",
      withPool({}, { type: 0x01021994 }),
      { level: "warning", cause: expect.stringContaining("tmpfs") },
    ],
    [
      "a disk that turned read-only",
      withPool({}, {}, { mount: { ...mount, superOptions: ["ro"] } }),
      { level: "error", cause: "/dev/sdb1 is mounted read-only at /data" },
    ],
    [
      "sparse images that promise more than the disk has",
      withPool({ backend: "image", sparse: true, reservedBytes: 150 * GiB }, { availableBytes: 80 * GiB }),
      { level: "warning", cause: expect.stringContaining("130.0 GiB more than they have") },
    ],
    [
      "a daemon that is not ready",
      node({ daemon: { notReady: { value: "starting" } } }),
      { level: "error", area: "daemon", cause: expect.stringContaining("starting") },
    ],
    [
      "a daemon whose health is served elsewhere",
      node({ daemon: { notReady: { unknown: "http://x does not answer: ECONNREFUSED" } } }),
      { level: "warning", area: "daemon", cause: expect.stringContaining("ECONNREFUSED") },
    ],
    [
      "what the daemon's metrics call degraded",
      node({ daemon: { degraded: [{ what: "masquerade", subject: "pods" }] } }),
      { level: "warning", area: "daemon", subject: "pods", cause: expect.stringContaining("masquerade") },
    ],
    [
      "looks for leftovers that fail",
      node({ daemon: { sweepFailures: 3 } }),
      { level: "warning", subject: "sweep", cause: expect.stringContaining("3 looks") },
    ],
    [
      "gaps in the call log",
      { ...well, proxy: { recordsLost: 7, failedReloads: 0, unimplemented: [], unknownToUs: [] } },
      { level: "warning", subject: "call log", cause: expect.stringContaining("7 records") },
    ],
    [
      "a reload that was refused",
      { ...well, proxy: { recordsLost: 0, failedReloads: 1, unimplemented: [], unknownToUs: [] } },
      { level: "warning", subject: "reload", cause: expect.stringContaining("1 reload") },
    ],
    [
      "a configuration of ours that is broken",
      node({ network: { configurations: new Map([["10-trivet.conflist", "{"]]) } }),
      { level: "error", subject: "configuration", cause: expect.stringContaining("10-trivet.conflist") },
    ],
    [
      "a configuration of ours where the runtime does not look",
      node({
        network: { configurations: new Map(), confDir: "/x", strayed: ["/etc/cni/net.d/10-trivet.conflist"] },
      }),
      {
        level: "error",
        subject: "configuration",
        remedy: expect.stringContaining("--conf-dir /x"),
        cause: expect.any(String),
      },
    ],
    [
      "a version of the specification that the runtime does not know",
      node({
        network: {
          configurations: new Map([["10-trivet.conflist", conflist.replace("1.0.0", "1.1.0")]]),
        },
      }),
      { level: "error", subject: "configuration", cause: expect.stringContaining("1.1.0") },
    ],
    [
      "an agent that is away",
      node({ network: { agentAnswers: false } }),
      { level: "warning", subject: "agent", cause: expect.any(String) },
    ],
    [
      "a runtime that could not load its networks",
      node({ runtime: { network: { ...network, loadProblem: "cni config load failed: x" } } }),
      { level: "error", subject: "network configuration", cause: "cni config load failed: x" },
    ],
    [
      "a proxy to another runtime of the same version",
      node({
        runtime: {
          direct: { value: { ...runtime, images: ["/a"] } },
          proxied: { value: { ...runtime, images: ["/b"] } },
        },
      }),
      { level: "warning", subject: "proxy", cause: expect.stringContaining("/b") },
    ],
    [
      "a kubelet that uses another runtime than the one that is looked at",
      node({ kubelet: { endpoint: "/run/other.sock" } }),
      { level: "warning", subject: "runtime endpoint", cause: expect.stringContaining("/run/other.sock") },
    ],
    [
      "a kubelet that asks somebody else for images",
      node({
        kubelet: { setup: { value: { ...setup, image: { ...setup.runtime, path: "/run/other.sock" } } } },
      }),
      { level: "warning", subject: "image endpoint", cause: expect.stringContaining("/run/other.sock") },
    ],
    [
      "a kubelet whose directory is elsewhere",
      node({ kubelet: { ownRoot: "/data/kubelet", daemonRoot: "/var/lib/kubelet" } }),
      { level: "error", subject: "directory", cause: expect.stringContaining("/data/kubelet") },
    ],
    [
      "a kubelet that has not taken the driver",
      node({ daemon: { isRegistered: false } }),
      { level: "warning", subject: "registration", cause: expect.stringContaining("not taken") },
    ],
    [
      "a daemon whose mounts stay in its container",
      node({ kubelet: { daemonShares: false } }),
      {
        level: "error",
        subject: "mount propagation",
        remedy: expect.stringContaining("Bidirectional"),
        cause: expect.any(String),
      },
    ],
    [
      "a directory in which others can replace a socket",
      node({
        sockets: [
          { path: "/run/s", serves: "x", state: "answers", mode: 0o600, uid: 0, openDirectory: 0o777 },
        ],
      }),
      {
        level: "error",
        area: "sockets",
        commands: ["chmod go-w /run"],
        cause: expect.stringContaining("0777"),
      },
    ],
    [
      "a release that is damaged",
      node({ install: { currentIsWhole: false } }),
      { level: "error", subject: "host", cause: expect.stringContaining("damaged") },
    ],
    [
      "a proxy that no boot starts and the kubelet needs",
      node({ install: { proxyAtBoot: false } }),
      { level: "error", subject: "boot", cause: expect.any(String) },
    ],
    [
      "a proxy that is older than what is installed",
      node({ install: { proxy: "0.0.9" } }),
      {
        level: "warning",
        subject: "versions",
        commands: ["systemctl reload trivet-cri"],
        cause: expect.any(String),
      },
    ],
    [
      "a pool that is nearly given away",
      withPool({ availableBytes: GiB }),
      { level: "warning", cause: "1.0 % of its budget is left" },
    ],
    [
      "a disk that is nearly full",
      withPool({}, { availableBytes: 5 * GiB }),
      { level: "warning", cause: expect.stringContaining("bytes") },
    ],
    [
      "a disk without inodes",
      withPool({}, { freeInodes: 1 }),
      { level: "error", cause: expect.stringContaining("inodes") },
    ],
    [
      "what is quarantined",
      withPool({ quarantined: ["v1"] }),
      { level: "warning", cause: expect.stringContaining("v1") },
    ],
    [
      "orphans",
      node({ storage: { orphans: { value: { "left in staging": 2 } } } }),
      { level: "warning", subject: "orphans", cause: "2 times left in staging" },
    ],
    [
      "image pools without their programs",
      node({
        storage: {
          pools: { value: [{ status: { ...pool, backend: "image" }, disk }] },
          missingPrograms: ["mkfs.xfs"],
        },
      }),
      { level: "warning", subject: "image pools", cause: expect.stringContaining("mkfs.xfs") },
    ],
    [
      "a plugin that is gone",
      node({ network: { plugin: undefined } }),
      { level: "error", area: "network", cause: expect.stringContaining("not there") },
    ],
    [
      "the script in place of the client",
      node({ network: { plugin: "script" } }),
      { level: "warning", cause: expect.stringContaining("script") },
    ],
    [
      "a missing loopback",
      node({ network: { loopback: false } }),
      { level: "error", subject: "loopback", cause: expect.any(String) },
    ],
    [
      "a configuration that sorts before ours",
      node({
        network: {
          configurations: new Map([
            ["05-other.conflist", conflist.replace("trivet", "bridge")],
            ...well.network.configurations,
          ]),
        },
      }),
      { level: "error", subject: "configuration", cause: expect.stringContaining("05-other.conflist") },
    ],
    [
      "a range that is full",
      node({ network: { status: { value: "no free address" } } }),
      { level: "error", subject: "STATUS", cause: "no free address" },
    ],
    [
      "a runtime that is away",
      node({ runtime: { direct: { unknown: "no answer" } } }),
      { level: "error", area: "runtime", subject: "socket", cause: "no answer" },
    ],
    [
      "a runtime that is not ready",
      node({ runtime: { direct: { value: { ...runtime, notReady: ["NetworkReady is false"] } } } }),
      { level: "error", cause: "NetworkReady is false" },
    ],
    [
      "a containerd that forgets DELs",
      node({
        runtime: {
          direct: { value: { ...runtime, version: "1.6.20~ds1" } },
          proxied: { value: { ...runtime, version: "1.6.20~ds1" } },
        },
      }),
      { level: "warning", subject: "containerd 1.6.20~ds1", cause: expect.stringContaining("DEL") },
    ],
    [
      "a proxy to another runtime",
      node({ runtime: { proxied: { value: { ...runtime, version: "v2.0.0" } } } }),
      { level: "warning", subject: "proxy", cause: expect.stringContaining("v2.0.0") },
    ],
    [
      "a kubelet that is configured with a dead proxy",
      node({ runtime: { proxied: { unknown: "refused" } } }),
      {
        level: "error",
        area: "kubelet",
        subject: "runtime endpoint",
        cause: expect.stringContaining("does not answer"),
      },
    ],
    [
      "an old kubelet",
      node({ kubelet: { version: [1, 25] } }),
      { level: "error", subject: "version", cause: expect.stringContaining("1.26") },
    ],
    [
      "an old kubelet that Trivet answers by itself",
      node({ kubelet: { version: [1, 28] } }),
      { level: "error", subject: "registration", cause: expect.stringContaining("authority") },
    ],
    [
      "a driver that nobody registers",
      node({ kubelet: { registersItself: false } }),
      { level: "warning", subject: "registration", cause: expect.any(String) },
    ],
    [
      "a private mount",
      node({ kubelet: { isShared: false } }),
      { level: "error", subject: "mount propagation", cause: expect.any(String) },
    ],
    [
      "a socket that anybody may open",
      node({ sockets: [{ path: "/s", serves: "x", state: "answers", mode: 0o666, uid: 0 }] }),
      { level: "error", area: "sockets", cause: expect.stringContaining("0666") },
    ],
    [
      "a socket that nobody listens on",
      node({ sockets: [{ path: "/s", serves: "x", state: "stale" }] }),
      { level: "warning", area: "sockets", cause: expect.stringContaining("nobody listens on it") },
    ],
    [
      "versions that are not in step",
      node({ daemon: { version: "0.2.0" } }),
      { level: "warning", subject: "versions", cause: expect.stringContaining("trivet node 0.2.0") },
    ],
    [
      "an installation that was broken off",
      node({ install: { unfinished: ["the wiring"] } }),
      { level: "error", area: "install", cause: expect.stringContaining("the wiring") },
    ],
  ];

  it.each(rows)("finds %s, and says what follows and what to do", (_, facts, expected) => {
    const found = wrong(facts);
    expect(found).toContainEqual(expect.objectContaining(expected));
    for (const finding of found) {
      expect(finding).toMatchObject({
        consequence: expect.stringMatching(/\w/),
        remedy: expect.stringMatching(/\w/),
      });
    }
  });

  it("says what could not be looked at, and why", () => {
    const facts = node({ kubelet: { version: undefined, setup: { unknown: "no kubelet runs here" } } });
    expect(diagnose(facts)).toContainEqual({
      ...{ level: "unknown", area: "kubelet", subject: "version", cause: "no kubelet runs here" },
    });
  });

  it("shows what is wrong first, with all of it below the table, and colours only where asked", () => {
    const report = formatReport(wrong(node({ kubelet: { isShared: false } })), { all: false, colour: false });
    expect(report).toMatch(/^LEVEL +AREA +SUBJECT +FOUND\nerror +kubelet +mount propagation/);
    expect(report).toContain("  remedy:      run 'mount --make-rshared /'");
    expect(report).toMatch(/1 error, 0 warnings, 0 as it should be\n$/);
    expect(report).not.toContain("\u001b");
    expect(
      formatReport(wrong(node({ kubelet: { isShared: false } })), { all: false, colour: true }),
    ).toContain("\u001b[31merror");
  });

  it("wraps what was found to the terminal, cuts nothing, and leaves commands whole", () => {
    const cause = Array.from({ length: 30 }, (_, index) => `word${index}`).join(" ");
    const remedy = `run 'mount -o ${"x".repeat(100)} y'`;
    const finding = {
      level: "error",
      area: "storage",
      subject: "pool a",
      cause,
      consequence: "c",
      remedy,
    } as const;
    const report = formatReport([finding], { all: false, colour: true, columns: 80 });
    const lines = stripVTControlCharacters(report).split("\n");
    const [table, details] = [lines.slice(0, lines.indexOf("")), lines.slice(lines.indexOf(""))];
    expect(table.length).toBeGreaterThan(3);
    for (const line of table) expect(line.length).toBeLessThanOrEqual(80);
    const found = table[0]?.indexOf("FOUND") ?? 0;
    expect(
      table
        .slice(1)
        .map((line) => line.slice(found))
        .join(" "),
    ).toBe(cause);
    expect(table.slice(2).every((line) => line.slice(0, found).trim() === "")).toBe(true);
    expect(details.join("\n")).toContain(`remedy:      ${remedy}`);
    const unwrapped = formatReport([finding], { all: false, colour: false });
    expect(unwrapped.split("\n")[1]).toContain(cause);
  });

  it("shows what others have written on one line, and lets it steer no terminal", () => {
    const finding = { level: "unknown", area: "runtime", subject: "x", cause: "a\nb\u001b[2Jc" } as const;
    const report = formatReport([finding], { all: false, colour: false });
    expect(report).toMatch(/^LEVEL .*\nunknown +runtime +x +a b\?\[2Jc\n\n0 errors/);
  });

  it("needs no shared mounts for a daemon that has the kubelet's own", () => {
    expect(wrong(node({ kubelet: { isShared: false, daemonShares: "same mounts" } }))).toEqual([]);
  });

  it("asks nobody for volumes who is to serve none", () => {
    const facts = node({ daemon: { servesVolumes: false }, storage: { pools: { unknown: "away" } } });
    expect(wrong(facts)).toEqual([]);
  });
});

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
