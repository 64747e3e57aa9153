/**
 * `trivet doctor` on a node as it is: a real containerd, a disk with quotas, `trivet node` and the proxy. All is well; then one thing
 * after the other is broken, found, mended as the finding says, and gone from the findings.
 */
import { execFileSync, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDaemon, type Daemon, socketAnswers } from "../../src/commands/demo/daemon.ts";
import type { Finding } from "../../src/commands/doctor/finding.ts";
import { driverName } from "../../src/csi/names.ts";
import { startFakeContainerd } from "../fakes/containerd/server.ts";
import { connectCri } from "../fakes/kubelet/cri-client.ts";
import { type PluginWatcher, watchPlugins } from "../fakes/kubelet/plugin-watcher.ts";
import { World } from "./support/cni-world.ts";
import { type PrivateContainerd, startContainerd } from "./support/containerd.ts";
import { createLoopDisk, type LoopDisk } from "./support/loop-disk.ts";
import { startProxiedCri } from "./support/proxied-cri.ts";

const repository = fileURLToPath(new URL("../..", import.meta.url));
const program = join(repository, "bin/trivet");

let world: World;
let disk: LoopDisk;
let containerd: PrivateContainerd;
let proxy: Daemon;
let node: Daemon;
let kubelet: PluginWatcher;

const at = (...parts: string[]) => join(world.directory, ...parts);
const pool = () => join(disk.path, "pool");
const proxySocket = () => at("run/cri.sock");
const run = (command: string) => execFileSync("sh", ["-c", command], { stdio: "pipe" });

beforeAll(async () => {
  expect(process.getuid?.(), "this test mounts disks and starts a containerd: it needs root").toBe(0);
  execFileSync(join(repository, "hack/build-cni-client"), { stdio: ["ignore", "ignore", "inherit"] });
  world = new World();
  disk = createLoopDisk("btrfs", 256);
  run(`btrfs quota enable ${disk.path}`);
  mkdirSync(pool(), { mode: 0o755 });
  for (const name of ["bin", "net.d", "kubelet", "run"]) mkdirSync(at(name), { mode: 0o755 });
  const netns = world.netns("node");
  run(`nsenter --net=${netns} ip link set lo up`);
  containerd = await startContainerd({
    ...{ root: at("c"), cniBinDir: at("bin"), cniConfDir: at("net.d"), netns },
  });
  proxy = createDaemon({
    netns,
    args: ["cri", "--listen", `unix://${proxySocket()}`, "--upstream", `unix://${containerd.socket}`],
    logFile: at("proxy.log"),
    ready: socketAnswers(proxySocket()),
  });
  await proxy.start();
  kubelet = await watchPlugins({ directory: at("kubelet/plugins_registry") });
  node = createDaemon({
    netns,
    args: [
      ...["node", "--no-kubernetes", "--node-id", "node-1", "--state-dir", at("var"), "--register"],
      ...["--kubelet-root", at("kubelet"), "--storage-socket", `unix://${at("run/storage.sock")}`],
      ...["--pool", `default=${pool()},requireMount=true`, "--cni-socket", `unix://${world.socket}`],
      ...["--cni-state-dir", world.stateDir, "--cni-conf-dir", at("net.d")],
    ],
    logFile: at("node.log"),
    ready: async () =>
      (await socketAnswers(world.socket)()) && (await socketAnswers(at("run/storage.sock"))()),
  });
  await node.start();
  await kubelet.waitFor(driverName);
  const installed = [
    ...["install", "cni", "--bin-dir", at("bin"), "--conf-dir", at("net.d"), "--subnet", "10.244.9.0/24"],
    ...["--socket", world.socket, "--lease-dir", world.stateDir, "--loopback", "--runtime", program],
    ...["--state-dir", at("var")],
  ];
  execFileSync("nsenter", [`--net=${netns}`, program, ...installed], {
    stdio: ["ignore", "ignore", "inherit"],
  });
}, 60_000);

afterAll(async () => {
  await kubelet?.stop();
  await node?.stop();
  await proxy?.stop();
  await containerd?.stop();
  disk?.remove();
  await world?.destroy();
});

interface Report {
  readonly exitCode: number | null;
  readonly findings: readonly Finding[];
  readonly text: string;
}

/** As an administrator would type it, with the paths of this test's node; `before` is put before it. */
async function doctor(more: readonly string[] = [], before: readonly string[] = []): Promise<Report> {
  const child = spawn(
    "nsenter",
    [
      ...[`--net=${world.netns("node")}`, ...before, program, "doctor", "--kubelet-root", at("kubelet")],
      ...["--cri-socket", `unix://${containerd.socket}`, "--proxy-socket", proxySocket()],
      ...["--storage-socket", at("run/storage.sock"), "--cni-socket", world.socket, "--state-dir", at("var")],
      ...["--config", at("node.yaml"), ...(more.includes("table") ? [] : ["--output", "json"]), ...more],
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => {
    text += chunk;
  });
  const exitCode = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { exitCode, text, findings: text.startsWith("{") ? JSON.parse(text).findings : [] };
}

const isWrong = ({ level }: Finding) => level === "error" || level === "warning";
const short = ({ level, area, subject }: Finding) => `${level} ${area}, ${subject}`;

/** What is wrong now, as `level area, subject`: what must be among it is given back whole, in that order. */
async function find(...expected: readonly [string, ...string[]]): Promise<[Finding, ...Finding[]]> {
  const { findings } = await doctor();
  const wrong = findings.filter(isWrong);
  for (const name of expected) expect(wrong.map(short)).toContain(name);
  const found = expected.flatMap((name) => wrong.find((finding) => short(finding) === name) ?? []);
  for (const finding of found) {
    const sentence = expect.stringMatching(/\w/);
    expect(finding).toMatchObject({ consequence: sentence, remedy: sentence });
  }
  return found as [Finding, ...Finding[]];
}

/** Types what the remedy says. */
function follow(finding: Finding): void {
  const commands = ("commands" in finding && finding.commands) || [];
  expect(commands).not.toEqual([]);
  for (const command of commands) run(command);
}

/** The old containerd of Debian forgets DELs, and says so; nothing else may be wrong. */
const ofThisContainerd = (finding: Finding) => /^containerd /.test(finding.subject);

async function expectWell(): Promise<readonly Finding[]> {
  const { findings, exitCode } = await doctor();
  expect(findings.filter(isWrong).filter((finding) => !ofThisContainerd(finding))).toEqual([]);
  expect(exitCode).toBe(0);
  return findings;
}

/** containerd looks at its directory again when a file in it is renamed or removed, a moment later. */
async function untilLoaded(expected: boolean): Promise<void> {
  const cri = connectCri({ path: containerd.socket });
  try {
    for (let tries = 0; tries < 200; tries += 1, await sleep(20)) {
      const { info } = (await cri.call("Status", { verbose: true })) as { info?: Record<string, string> };
      if ((info?.lastCNILoadStatus === "OK") === expected) return;
    }
  } finally {
    cri.close();
  }
  throw new Error("containerd did not look at its configurations");
}

/** By a rename within the directory: containerd does not look when a file is made. */
function putConfiguration(name: string, text: string): void {
  writeFileSync(at("net.d", ".new"), text);
  renameSync(at("net.d", ".new"), at("net.d", name));
}

test("a node on which everything works has no errors, in every form of the report", async () => {
  const findings = await expectWell();
  const said = (subject: string) => findings.find((finding) => finding.subject === subject)?.cause;
  expect(said("pool default")).toContain("btrfs");
  expect(said("STATUS")).toBe("an ADD would work now");
  expect(said("agent")).toContain("answers");
  expect(said("proxy")).toContain("containerd");
  expect(said("registration")).toBe("trivet node answers the kubelet");
  expect(said("health")).toContain("is ready");
  expect(said("configuration")).toContain("10-trivet.conflist");
  expect(said(proxySocket())).toContain("trivet cri");
  const table = await doctor(["--output", "table", "--all"]);
  expect(table.exitCode).toBe(0);
  expect(table.text).toMatch(/^LEVEL +AREA +SUBJECT +FOUND\n/);
  expect(table.text).not.toContain("\u001b");
  for (const { cause } of findings) expect(table.text).toContain(cause.split("\n")[0]);
});

test("a container that sees the host's processes finds the same", async () => {
  // Of its own mounts it has none of the node's directories.
  const hidden = `mount -t tmpfs none ${world.directory} && exec "$0" "$@"`;
  const inside = await doctor(
    ["--root", `/proc/${process.pid}/root`],
    ["unshare", "--mount", "--propagation", "private", "sh", "-c", hidden],
  );
  expect(inside.findings.map(short)).toEqual((await doctor()).findings.map(short));
});

test("without the daemon the disk is looked at all the same, and the command for its quotas is the right one", async () => {
  writeFileSync(at("node.yaml"), `node: { csi: { pools: [{ name: default, path: "${pool()}" }] } }\n`);
  await node.kill();
  run(`btrfs quota disable ${disk.path}`);
  const [finding, away] = await find(
    ...(["warning storage, pool default", "error storage, daemon", "warning network, agent"] as const),
    `warning sockets, ${world.socket}`,
  );
  expect(away?.cause).toContain("no daemon answers");
  expect(finding).toMatchObject({ commands: [`btrfs quota enable ${disk.path}`] });
  await node.start();
  // With it the same is said, as the remedy and not as the cause.
  const [served] = await find("warning storage, pool default");
  expect(served.cause).not.toContain("btrfs quota enable");
  expect(served).toMatchObject({ commands: [`btrfs quota enable ${disk.path}`] });
  follow(served);
  await node.stop();
  await node.start();
  await kubelet.waitFor(driverName);
  await expectWell();
});

test("a pool whose disk is gone, and one whose disk is full, are found", async () => {
  const [source = ""] = execFileSync("findmnt", ["-no", "SOURCE", disk.path], { encoding: "utf8" }).split(
    "\n",
  );
  const device = source.replace(/\[.*/, "");
  run(`mount --bind ${disk.path} ${disk.path} && umount ${disk.path}`);
  // The disk stays attached by a second mount.
  mkdirSync(at("elsewhere"));
  run(`mount ${device} ${at("elsewhere")} && umount ${disk.path}`);
  expect((await find("error storage, pool default"))[0]).toMatchObject({
    remedy: expect.stringContaining(`mount its disk at ${pool()}`),
  });
  run(`mount ${device} ${disk.path} && umount ${at("elsewhere")}`);
  const { bavail, bsize } = statfsSync(disk.path);
  run(`fallocate -l ${Math.floor(bavail * bsize * 0.93)} ${disk.path}/big`);
  expect((await find("warning storage, pool default"))[0].cause).toMatch(/of the bytes of the disk/);
  rmSync(join(disk.path, "big"));
  run(`btrfs filesystem sync ${disk.path}`);
  await expectWell();
});

test("what stands in the way of the network configuration is found", async () => {
  putConfiguration("00-broken.conf", "{");
  await untilLoaded(false);
  const broken = await find("error network, configuration", "error runtime, network configuration");
  for (const { cause } of broken) expect(cause).toContain("00-broken.conf");
  rmSync(at("net.d/00-broken.conf"));
  const another = { cniVersion: "1.0.0", name: "another", plugins: [{ type: "loopback" }] };
  putConfiguration("05-another.conflist", JSON.stringify(another));
  await untilLoaded(true);
  expect((await find("error network, configuration"))[0].cause).toContain("05-another.conflist sorts before");
  rmSync(at("net.d/05-another.conflist"));
  const own = readFileSync(at("net.d/10-trivet.conflist"), "utf8");
  putConfiguration("10-trivet.conflist", own.slice(0, own.length / 2));
  expect((await find("error network, configuration"))[0].cause).toContain("names Trivet");
  putConfiguration("10-trivet.conflist", own);
  await untilLoaded(true);
  await expectWell();
});

test("a plugin that is a script, may not be executed or is gone, and a missing loopback, are found", async () => {
  const plugin = at("bin/trivet");
  renameSync(plugin, at("client"));
  renameSync(at("bin/loopback"), at("loopback"));
  const [gone] = await find("error network, plugin", "error network, loopback");
  expect(gone.cause).toContain("is not there");
  renameSync(at("loopback"), at("bin/loopback"));
  writeFileSync(plugin, "#!/bin/sh\n", { mode: 0o755 });
  await find("warning network, plugin");
  renameSync(at("client"), plugin);
  chmodSync(plugin, 0o644);
  expect((await find("error network, plugin"))[0].cause).toContain("may not be executed");
  chmodSync(plugin, 0o755);
  await expectWell();
});

test("a proxy that is dead, one that leads elsewhere, and sockets that others may open, are found", async () => {
  await proxy.kill();
  const [stale] = await find(`warning sockets, ${proxySocket()}`, "error runtime, proxy");
  expect(stale.cause).toContain("nobody listens on it");
  const other = await startFakeContainerd({ path: at("run", `${basename(randomUUID())}.sock`) });
  const wrong = await startProxiedCri(other.path, at("run"));
  expect((await find("warning runtime, proxy"))[0].cause).toContain(containerd.socket);
  await wrong.stop();
  await other.stop();
  await proxy.start();
  chmodSync(proxySocket(), 0o666);
  expect((await find(`error sockets, ${proxySocket()}`))[0].cause).toContain("0666");
  chmodSync(proxySocket(), 0o600);
  chmodSync(at("run"), 0o777);
  follow((await find(`error sockets, ${proxySocket()}`))[0]);
  await expectWell();
});

test("a runtime that is away is an error, and its exit code says so", async () => {
  const { exitCode, findings } = await doctor(["--cri-socket", at("nobody.sock")]);
  expect(exitCode).toBe(1);
  expect(findings[0]).toMatchObject({ level: "error", area: "runtime", subject: "socket" });
  const strict = await doctor(["--strict"]);
  expect(strict.exitCode).toBe(strict.findings.some(isWrong) ? 1 : 0);
});

test("whoever is not root is told so, and nothing is made of what he may not see", () => {
  const asNobody = () =>
    execFileSync(
      "setpriv",
      ["--reuid", "65534", "--clear-groups", process.execPath, join(repository, "src/main.ts"), "doctor"],
      {
        stdio: "pipe",
        encoding: "utf8",
      },
    );
  expect(asNobody).toThrow(
    expect.objectContaining({ status: 3, stderr: expect.stringContaining("run it as root") }),
  );
});
