/**
 * The whole life of an installation, on a node of its own with a real systemd and a real containerd: from the image that was built onto the
 * node, the kubelet behind the proxy, pods with volumes, addresses and policies; under load the proxy is reloaded, everything upgraded,
 * rolled back and restarted; the power is cut; and in the end nothing is left but what was there before.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { createSyscalls } from "../../src/host/syscall.ts";
import { type Driver, startDriver } from "./support/driven-node.ts";
import type { DriverVerbs } from "./support/node-driver.ts";
import { makeBusyboxImage } from "./support/oci-archive.ts";
import { treeManifest } from "./support/tree-manifest.ts";
import { buildVersionedImages, versionedImage } from "./support/versioned-images.ts";
import { kubeletFlags, WholeNode } from "./support/whole-node.ts";

const repository = fileURLToPath(new URL("../..", import.meta.url));
const driverName = "local.csi.trivet.dev";
const proxySocket = "/run/trivet/cri.sock";
const trivet = "/opt/trivet/current/bin/trivet";
const subnet = "10.77.0.0/24";
const [first, second] = ["1.0.0", "1.1.0"] as const;
const policyFile = "/etc/trivet/policies/environment.yaml";
const policy = `apiVersion: trivet.dev/v1alpha1
kind: RuntimePolicy
metadata: { name: environment }
spec:
  methods: [CreateContainer]
  namespaces: [web]
  mutations:
    - { op: add, path: config.envs, values: { SET_BY: policy } }
`;

type Pod = Awaited<ReturnType<DriverVerbs["startPod"]>>;

let node: WholeNode;
let driver: Driver;
let before: Record<string, object>;
let volumeId: string;
let pod: Pod;
/** The lines that the pod had written when it was looked at last. */
let ticks = 0;

const startDaemonSet = (version: string) =>
  driver.ask("startDaemonSet", {
    image: versionedImage(version),
    install: ["--subnet", subnet],
    node: ["--node-id", "node-1", "--no-kubernetes"],
  });

/** The kubelet that runs now has asked the driver who it is. */
const isRegistered = () =>
  node.until(async () => {
    const { stdout } = await node.run("cat", "/run/kubelet-plugins.json");
    return stdout.includes(driverName);
  }, "the driver's registration");
const isCurrent = (version: string) => expect(readlinkSync(node.at("/opt/trivet/current"))).toBe(version);

async function proxyVersion(): Promise<string | undefined> {
  const { MainPID } = await node.show("trivet-cri.service");
  const program = (await node.do("readlink", `/proc/${MainPID}/exe`)).trim();
  return /^\/opt\/trivet\/([^/]+)\//.exec(program)?.[1];
}

const startWeb = () =>
  driver.ask("startPod", {
    ...{ name: "web", namespace: "web", uid: "2a6d1b1c-0000-4000-8000-000000000006" },
    volumes: [{ name: "pvc-web", driver: driverName, volumeId }],
    containers: [
      {
        ...{ name: "main", image: "trivet.local/busybox:1", volumeMounts: { "pvc-web": "/data" } },
        command: [
          "sh",
          "-c",
          "echo yes >/data/alive; httpd -p 80 -h /data; while :; do echo tick >>/data/ticks; sleep 0.1; done",
        ],
      },
    ],
  });

/** Its network, its volume, its environment: also that it has gone on writing. */
async function podIsWell(): Promise<void> {
  const inPod = async (...cmd: string[]) =>
    (await driver.ask("exec", { id: pod.containers.main ?? "", cmd })).output;
  expect(await inPod("ip", "-4", "-o", "addr", "show", "eth0")).toContain(`inet ${pod.ip}/32`);
  expect(await inPod("sh", "-c", "echo $SET_BY")).toBe("policy\n");
  expect(await inPod("grep", " /data ", "/proc/mounts")).toContain("/data");
  const written = Number(await inPod("sh", "-c", "wc -l </data/ticks"));
  expect(written).toBeGreaterThan(ticks);
  ticks = written;
  expect(await node.do(trivet, "network", "leases")).toContain(pod.ip);
}

interface LoadOptions {
  /** Failures that are to be expected. */
  readonly but?: RegExp;
  readonly pods?: boolean;
}

/** Calls, pods, networks and volumes without a pause while `act` runs; none of them may fail. */
async function underLoad(act: () => Promise<unknown>, { but, pods = true }: LoadOptions = {}) {
  await driver.ask("startLoad", { ip: pod.ip, pods });
  let report: Awaited<ReturnType<DriverVerbs["stopLoad"]>>;
  try {
    await act();
  } finally {
    report = await driver.ask("stopLoad");
  }
  expect(Object.keys(report.failures).filter((text) => !but?.test(text))).toEqual([]);
  const kinds = ["call", "network", "page", ...(pods ? ["pod"] : []), "volume"];
  expect(Object.keys(report.done).sort()).toEqual(kinds);
  await podIsWell();
}

const installKubelet = async () => {
  await node.do(trivet, "install", "kubelet", "--yes", "--settle", "1", "--within", "30");
  expect(node.read(kubeletFlags)).toContain(`unix://${proxySocket}`);
};

// Of the order of ten times what it takes.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 240_000 });

beforeAll(async () => {
  expect(process.getuid?.(), "these tests need root").toBe(0);
  expect(existsSync("/lib/systemd/systemd"), "these tests need the package systemd").toBe(true);
  for (const argv of [["hack/build-cni-client"], [process.execPath, "hack/bundle.ts"]]) {
    const [program = "", ...args] = argv;
    execFileSync(program, args, { cwd: repository, stdio: ["ignore", "ignore", "inherit"] });
  }
  node = new WholeNode();
  await node.create();
  await makeBusyboxImage(node.at("/tmp/busybox.tar"));
  await buildVersionedImages(node.at("/tmp/trivet.tar"), [first, second]);
  for (const name of ["busybox", "trivet"]) {
    await node.do("ctr", "-n", "k8s.io", "images", "import", `/tmp/${name}.tar`);
    rmSync(node.at(`/tmp/${name}.tar`));
  }
  await node.kubeletIsWell();
  before = await node.changes();
  driver = startDriver(node);
});
afterAll(async () => {
  driver?.stop();
  await node?.destroy();
});

describe("comes onto the node", () => {
  test("by the init containers of the DaemonSet's pod, whose daemon the kubelet then knows", async () => {
    const outputs = await startDaemonSet(first);
    expect(outputs.join("\n")).toMatch(/self-test +ADD, CHECK and DEL went well/);
    await isRegistered();
    isCurrent(first);
    expect(await proxyVersion()).toBe(first);
    expect(await node.show("trivet-cri.socket")).toMatchObject({ ActiveState: "active" });
  });

  test("from the same image into a scratch root, and out of it again", async () => {
    const scratch = node.at("/mnt/scratch");
    for (const name of ["etc/cni/net.d", "opt", "var/lib"])
      mkdirSync(join(scratch, name), { recursive: true });
    writeFileSync(join(scratch, "etc/cni/net.d/10-trivet.conflist"), "{}\n", { mode: 0o640 });
    const look = async () => {
      const manifest = Object.entries(await treeManifest(createSyscalls(), scratch));
      return manifest.map(([name, { mtimeNs: _, ...entry }]: [string, { mtimeNs?: bigint }]) => [
        name,
        entry,
      ]);
    };
    const was = await look();
    const install = ["install", "--root", "/mnt/scratch", "--subnet", subnet, "--edited", "replace"];
    const installed = await driver.ask("runInPod", install);
    expect(installed.exitCode, installed.output).toBe(0);
    expect(readlinkSync(join(scratch, "opt/trivet/current"))).toBe(first);
    const enabled = join(scratch, "etc/systemd/system/sockets.target.wants/trivet-cri.socket");
    expect(readlinkSync(enabled)).toBe("/etc/systemd/system/trivet-cri.socket");
    const removed = await driver.ask("runInPod", ["uninstall", "--root", "/mnt/scratch"]);
    expect(removed.output).toContain("every path is as it was before");
    expect(await look()).toEqual(was);
    rmSync(scratch, { recursive: true });
  });

  test("the kubelet is put behind the proxy", async () => {
    await installKubelet();
    await isRegistered();
  });

  test("a pod gets its address, its volume, and what a policy sets", async () => {
    writeFileSync(node.at(policyFile), policy);
    await node.do("systemctl", "reload", "trivet-cri.service");
    volumeId = (await driver.ask("createVolume", { name: "pvc-web", sizeBytes: 16 << 20 })).volume_id;
    pod = await startWeb();
    expect(pod.ip).toMatch(/^10\.77\.0\.\d+$/);
    await podIsWell();
  });
});

describe("under load no call, lease or volume is lost", () => {
  test("when the proxy is reloaded", async () => {
    const { MainPID } = await node.show("trivet-cri.service");
    await underLoad(() => node.do("systemctl", "reload", "trivet-cri.service"));
    expect((await node.show("trivet-cri.service")).MainPID).not.toBe(MainPID);
  });

  test("when the DaemonSet gets a new version", async () => {
    await underLoad(async () => {
      expect(await driver.ask("stopDaemonSet")).toBe(0);
      await startDaemonSet(second);
      await isRegistered();
    });
    isCurrent(second);
    expect(await proxyVersion()).toBe(second);
  });

  test("when the kubelet is restarted", async () => {
    await underLoad(async () => {
      await node.do("systemctl", "restart", "kubelet.service");
      await node.kubeletIsWell();
      await isRegistered();
    });
    expect(node.read("/run/kubelet.log")).not.toContain("failed");
  });

  test("when the container runtime is restarted, but for calls that are UNAVAILABLE meanwhile", async () => {
    const restart = async () => {
      await node.do("systemctl", "restart", "containerd.service");
      await node.do("ctr", "version");
    };
    await underLoad(restart, { but: /^call: \w+: 14 UNAVAILABLE/, pods: false });
  });

  test("when the version before comes back", async () => {
    await underLoad(() => node.do(trivet, "rollback"));
    isCurrent(first);
    expect(await proxyVersion()).toBe(first);
  });

  test("when the proxy is bypassed, and is used again", async () => {
    await node.do("/opt/trivet/bypass");
    expect(node.read(kubeletFlags)).not.toContain(proxySocket);
    await node.kubeletIsWell();
    await underLoad(async () => undefined);
    await underLoad(async () => {
      await installKubelet();
    });
  });
});

test("after the power was cut the node becomes well by itself, also with a runtime that is late", async () => {
  mkdirSync(node.at("/etc/systemd/system/containerd.service.d"));
  const late = "/etc/systemd/system/containerd.service.d/late.conf";
  writeFileSync(node.at(late), "[Service]\nExecStartPre=/bin/sleep 2\n");
  driver.stop();
  await node.cutPower();
  await node.boot();
  await node.kubeletIsWell();
  const enteredUs = async (unit: string) => Number((await node.show(unit)).ActiveEnterTimestampMonotonic);
  const order = ["trivet-cri.socket", "containerd.service", "trivet-cri.service", "kubelet.service"];
  const times = await Promise.all(order.map(enteredUs));
  expect(times).toEqual([...times].sort((a, b) => a - b));
  rmSync(node.at("/etc/systemd/system/containerd.service.d"), { recursive: true });
  // As the kubelet does it: what ran is dead, and is made anew.
  driver = startDriver(node);
  await driver.ask("removeDeadSandboxes");
  await startDaemonSet(first);
  await isRegistered();
  await driver.ask("stopPod", pod);
  pod = await startWeb();
  await podIsWell();
  await underLoad(async () => undefined);
});

describe("goes", () => {
  test("not while a pod uses it", async () => {
    const { status, stderr } = await node.run(trivet, "uninstall");
    expect([status, stderr]).toEqual([1, expect.stringContaining("web/web")]);
    expect(stderr).toContain("/pvc-web/mount");
    expect(stderr).toContain("trivet node");
    await podIsWell();
  });

  test("without a trace", async () => {
    await driver.ask("stopPod", pod);
    await driver.ask("deleteVolume", volumeId);
    expect(await driver.ask("stopDaemonSet")).toBe(0);
    rmSync(node.at(policyFile));
    const stdout = await node.do(trivet, "uninstall", "--delete-data");
    expect(stdout).toContain("every path is as it was before");
    await node.kubeletIsWell();
    const after = await node.changes();
    expect(
      [...new Set([...Object.keys(after), ...Object.keys(before)])].filter(
        (path) => !isDeepStrictEqual(after[path], before[path]),
      ),
    ).toEqual([]);
    expect((await node.do("nft", "list", "tables")).trim()).toBe("");
    expect(await node.do("ip", "-o", "link")).not.toMatch(/: tv/);
    expect(await node.show("trivet-cri.service")).toMatchObject({ LoadState: "not-found" });
    expect(existsSync(node.at("/run/trivet"))).toBe(false);
  });
});
