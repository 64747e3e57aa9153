import { describe, expect, it } from "vitest";
import type { PoolStatus } from "../../csi/pool/pool.ts";
import type { KubeletSetup } from "../../install/kubelet/setup.ts";
import { diagnose } from "./diagnose.ts";
import type { NodeFacts } from "./facts.ts";
import type { Finding } from "./finding.ts";
import { isShared } from "./gather-kubelet.ts";
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

/** A node on which everything is as it should be. */
const well: NodeFacts = {
  kernel: {
    release: "6.1.0",
    features: { veth: "there", nf_tables: "there", overlay: "there", loop: "there", bridge: "there" },
    fileSystems: ["ext4", "xfs"],
  },
  storage: {
    pools: { value: [{ status: pool, space }] },
    ...{ abnormal: { value: [] }, orphans: { value: {} }, missingPrograms: [] },
  },
  network: {
    configurations: new Map([["10-trivet.conflist", conflist]]),
    ...{ confDir: "/etc/cni/net.d", binDir: "/opt/cni/bin", plugin: "native", loopback: true },
    status: { value: undefined },
  },
  runtime: {
    ...{ socket: "/run/containerd/containerd.sock", direct: { value: runtime } },
    ...{ proxySocket: "/run/trivet/cri.sock", proxied: { value: runtime }, proxyIsThere: true },
    usesInternalLoopback: false,
  },
  kubelet: {
    ...{ setup: { value: setup }, version: [1, 31], root: "/var/lib/kubelet", isShared: true },
    ...{ registersItself: true, hasRegistrar: false },
  },
  sockets: [{ path: "/run/trivet/cri.sock", serves: "the CRI proxy", state: "answers", mode: 0o600, uid: 0 }],
  install: {
    ...{
      own: "0.1.0",
      current: "0.1.0",
      currentIsWhole: true,
      node: "0.1.0",
      proxy: "0.1.0",
      unfinished: [],
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

const withPool = (changes: Partial<PoolStatus>, disk: Partial<typeof space> = {}) =>
  node({
    storage: { pools: { value: [{ status: { ...pool, ...changes }, space: { ...space, ...disk } }] } },
  });

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
      "a pool without limits, with the command that would change it",
      withPool({ enforced: false, advice: "mount it with 'prjquota'" }),
      { level: "warning", cause: "mount it with 'prjquota'" },
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
          pools: { value: [{ status: { ...pool, backend: "image" }, space }] },
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
      { level: "warning", area: "sockets", cause: "nobody listens on it" },
    ],
    [
      "versions that are not in step",
      node({ install: { node: "0.2.0" } }),
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
