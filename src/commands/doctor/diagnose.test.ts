import { describe, expect, it } from "vitest";
import { conflist, network, node, runtime, setup, well, wrong } from "../../../test/fakes/doctor-node.ts";
import { diagnose } from "./diagnose.ts";
import type { NodeFacts } from "./facts.ts";
import type { Finding } from "./finding.ts";

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

  it("needs no shared mounts for a daemon that has the kubelet's own", () => {
    expect(wrong(node({ kubelet: { isShared: false, daemonShares: "same mounts" } }))).toEqual([]);
  });

  it("asks nobody for volumes who is to serve none", () => {
    const facts = node({ daemon: { servesVolumes: false }, storage: { pools: { unknown: "away" } } });
    expect(wrong(facts)).toEqual([]);
  });
});
