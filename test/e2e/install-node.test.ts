/**
 * The whole of Trivet onto a node and off again, by `trivet install` and its neighbours as the bundle has them: a newer version under a load of
 * calls and pods, back to the older one, one that does not start, and nothing left at the end.
 */
import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type FakeContainerd, startFakeContainerd } from "../fakes/containerd/server.ts";
import { connectCri } from "../fakes/kubelet/cri-client.ts";
import { NodeBox, type Ran } from "./support/node-box.ts";

const repository = join(import.meta.dirname, "../..");
const conflist = "/etc/cni/net.d/10-trivet.conflist";
const anothers = '{"name":"another","cniVersion":"1.0.0","plugins":[{"type":"bridge"}]}\n';
const subnet = "10.66.0.0/16";

let box: NodeBox;
let runtime: FakeContainerd;
let before: Record<string, object>;
/** The versions' bundles, by version. */
const bundles = new Map<string, string>();

beforeAll(async () => {
  expect(process.getuid?.(), "these tests need root").toBe(0);
  const build = (program: string, ...args: string[]) =>
    execFileSync(program, args, { cwd: repository, stdio: ["ignore", "ignore", "inherit"] });
  build(join(repository, "hack/build-cni-client"));
  build(process.execPath, "hack/bundle.ts");
  box = new NodeBox();
  await box.ready();
  for (const version of ["1.0.0", "1.1.0", "1.2.0"]) bundles.set(version, makeBundle(version));
  // It answers to `version`, and its proxy does not start.
  const broken = join(bundle("1.2.0"), "main.js");
  const main = readFileSync(broken, "utf8");
  writeFileSync(
    broken,
    `if (process.argv[2] === "cri" && process.argv[3] !== "reload") process.exit(1);\n${main}`,
  );
  runtime = await startFakeContainerd({ path: box.at("run/containerd.sock") });
  mkdirSync(box.at("etc/cni/net.d"), { recursive: true });
  writeFileSync(box.at(conflist), anothers, { mode: 0o640 });
  before = await box.disk();
});
afterAll(async () => {
  await runtime?.stop();
  await box?.destroy();
});

function makeBundle(version: string): string {
  const directory = join(box.directory, `bundle-${version}`);
  cpSync(join(repository, "dist/trivet"), directory, { recursive: true });
  // As the image has it: with the Node.js that runs it.
  linkSync(nodeProgram(), join(directory, "bin/node"));
  const about = join(directory, "package.json");
  writeFileSync(about, JSON.stringify({ ...JSON.parse(readFileSync(about, "utf8")), version }));
  return directory;
}

/** One copy for all of them, on the same file system. */
function nodeProgram(): string {
  const path = join(box.directory, "node");
  if (!existsSync(path)) cpSync(process.execPath, path);
  return path;
}

const bundle = (version: string): string => bundles.get(version) ?? "";

function install(version: string, ...more: string[]) {
  return box.run([
    ...[join(bundle(version), "bin/trivet"), "install", "--service-manager", "systemd", "--subnet", subnet],
    ...["--upstream", "unix:///run/containerd.sock", "--loopback", "--edited", "replace", ...more],
  ]);
}

const trivet = (...args: string[]) => box.run(["/opt/trivet/current/bin/trivet", ...args]);

const rows = (stdout: string) =>
  stdout
    .trim()
    .split("\n")
    .map((line) => line.split(/\s{2,}/))
    .filter((cells) => cells.length > 2)
    .slice(1);
const outcomeOf = (stdout: string, what: string) => rows(stdout).find(([, path]) => path === what)?.[2];

/** The versions of the node's proxies that run; one that lets its last calls end is one of them. */
function runningVersions(): string[] {
  const namespace = readlinkSync(`/proc/${box.pid}/ns/mnt`);
  const programs = readdirSync("/proc").flatMap((pid) => {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      const isHere = readlinkSync(`/proc/${pid}/ns/mnt`) === namespace;
      const isProxy = isHere && command.includes("cri") && !command.includes("reload");
      return isProxy ? [readlinkSync(`/proc/${pid}/exe`)] : [];
    } catch {
      return [];
    }
  });
  return programs.flatMap(
    (program) => /^\/(?:opt\/trivet|var\/lib\/elsewhere\/0)\/([^/]+)\//.exec(program)?.[1] ?? [],
  );
}

/** Waits for the old one's end: it may have calls for a moment yet. */
async function servingVersion(): Promise<string | undefined> {
  for (let attempt = 0; attempt < 100 && runningVersions().length > 1; attempt++) await sleep(100);
  const [version, ...others] = runningVersions();
  expect(others).toEqual([]);
  return version;
}

const criSocket = () => `/proc/${box.pid}/root/run/trivet/cri.sock`;

/** Calls and pods without a pause while `act` runs, and what became of them. */
async function underLoad(act: () => Promise<void>) {
  const failures: string[] = [];
  const counts = { calls: 0, pods: 0 };
  let ended = false;
  const call = async (number: number) => {
    while (!ended) {
      // A connection for a few calls each: some are made while one proxy goes and the other comes.
      const client = connectCri({ path: criSocket() });
      for (let index = 0; index < 20 && !ended; index++) {
        await client.call("Version").then(
          () => {
            counts.calls += 1;
          },
          (error: Error) => failures.push(`caller ${number}: ${error.message}`),
        );
      }
      client.close();
    }
  };
  const addPods = async () => {
    while (!ended) {
      const name = `pod-${counts.pods}`;
      for (const command of ["ADD", "DEL"]) {
        const { status, stdout, stderr } = await cni(command, name);
        if (status !== 0) failures.push(`${command}: ${stdout}${stderr}`);
      }
      counts.pods += 1;
    }
  };
  const running = [call(1), call(2), addPods()];
  try {
    while (counts.pods === 0) await sleep(10);
    await act();
    const { pods } = counts;
    while (counts.pods === pods) await sleep(10);
  } finally {
    ended = true;
    await Promise.all(running);
  }
  expect(failures).toEqual([]);
  expect(counts.calls).toBeGreaterThan(100);
}

/** One call of the installed plugin, as a runtime makes it: without an agent, so that the runtime in /opt/trivet does it. */
async function cni(command: string, name: string): Promise<Ran> {
  if (command === "ADD") await box.run(["ip", "netns", "add", name]);
  const { plugins, name: network } = JSON.parse(readFileSync(box.at(conflist), "utf8"));
  const env = {
    ...{ CNI_COMMAND: command, CNI_CONTAINERID: name, CNI_IFNAME: "eth0", CNI_PATH: "/opt/cni/bin" },
    ...{ CNI_NETNS: `/run/netns/${name}`, CNI_ARGS: `K8S_POD_NAMESPACE=default;K8S_POD_NAME=${name}` },
  };
  const input = JSON.stringify({ ...plugins[0], name: network, cniVersion: "1.0.0" });
  const ran = await box.run(["/opt/cni/bin/trivet"], { env, input });
  if (command === "DEL") await box.run(["ip", "netns", "del", name]);
  return ran;
}

test("a mistake in the settings is told before anything is changed", async () => {
  const { status, stderr } = await install("1.0.0", "--subnet", "10.0.0.0/99");
  expect([status, stderr]).toEqual([2, expect.stringContaining("10.0.0.0/99")]);
  expect(await box.disk()).toEqual(before);
});

test("an address of the runtime that is none is told before it gets into the settings", async () => {
  for (const upstream of ["/run/containerd.sock\nlisten: x", "tcp://127.0.0.1:1", "unix://relative"]) {
    const { status, stderr } = await install("1.0.0", "--upstream", upstream);
    expect([status, stderr]).toEqual([2, expect.stringContaining("--upstream")]);
  }
  expect(await box.disk()).toEqual(before);
});

test("a dry run says what would be done, and changes nothing", async () => {
  const { status, stdout } = await install("1.0.0", "--dry-run");
  expect(status).toBe(0);
  expect(outcomeOf(stdout, "/opt/trivet/current -> 1.0.0")).toBe("would be written");
  expect(outcomeOf(stdout, conflist)).toBe("would be replaced");
  expect(await box.disk()).toEqual(before);
  expect(box.told()).toEqual([]);
});

test("everything is put in place and started", async () => {
  const { status, stdout, stderr } = await install("1.0.0");
  expect(status, stdout + stderr).toBe(0);
  expect(outcomeOf(stdout, "self-test")).toBe("ADD, CHECK and DEL went well");
  expect(readlinkSync(box.at("opt/trivet/current"))).toBe("1.0.0");
  expect(readFileSync(box.at("etc/trivet/config.yaml"), "utf8")).toContain(
    "upstream: unix:///run/containerd.sock",
  );
  expect(box.told()).toEqual([
    "daemon-reload",
    "is-active --quiet trivet-cri.service",
    "is-active --quiet trivet-cri.socket",
    "is-active --quiet trivet-cri.service",
    "start trivet-cri.socket trivet-cri.service",
  ]);
  const client = connectCri({ path: criSocket() });
  expect(await client.call("Version")).toMatchObject({ runtime_name: "containerd" });
  client.close();
  expect(await servingVersion()).toBe("1.0.0");
});

test("a second run changes nothing, and says so", async () => {
  const written = [conflist, "opt/trivet/1.0.0/bin/node", "opt/trivet/current", "opt/cni/bin/trivet"];
  const look = () => written.map((path) => lstatSync(box.at(path), { bigint: true }));
  const earlier = look();
  const { status, stdout } = await install("1.0.0");
  expect([status, stdout]).toEqual([0, expect.stringContaining("nothing was to be done\n")]);
  for (const [index, now] of look().entries()) {
    expect(now, written[index]).toMatchObject({ ino: earlier[index]?.ino, mtimeNs: earlier[index]?.mtimeNs });
  }
  expect(box.told().filter((line) => !/^(is-active|show) /.test(line))).toEqual([]);
});

test("a newer version takes over under load, and no call and no pod fails", async () => {
  await underLoad(async () => {
    const { status, stdout, stderr } = await install("1.1.0");
    expect(status, stdout + stderr).toBe(0);
    expect(outcomeOf(stdout, "/opt/trivet/current -> 1.1.0")).toBe("replaced");
  });
  expect(box.told()).toContain("reload trivet-cri.service");
  expect(await servingVersion()).toBe("1.1.0");
  expect(readlinkSync(box.at("opt/trivet/previous"))).toBe("1.0.0");
});

test("the parts may be installed one after the other, as the DaemonSet does it: the proxy follows the runtime", async () => {
  expect((await install("1.0.0", "--components", "runtime")).status).toBe(0);
  expect(await servingVersion()).toBe("1.1.0");
  expect((await install("1.0.0", "--components", "cri")).status).toBe(0);
  expect(await servingVersion()).toBe("1.0.0");
});

test("the version before comes back under load, and no call and no pod fails", async () => {
  await underLoad(async () => {
    const { status, stdout, stderr } = await trivet("rollback", "--service-manager", "systemd");
    expect([status, stderr]).toEqual([0, expect.stringContaining("hands over")]);
    expect(stdout).toContain("/opt/trivet/current is 1.1.0 now, and was 1.0.0");
  });
  expect(await servingVersion()).toBe("1.1.0");
});

test("a version whose proxy does not get ready is not used, and the old one serves on", async () => {
  await underLoad(async () => {
    const { status, stdout, stderr } = await install("1.2.0");
    expect([status, stderr]).toEqual([1, expect.stringContaining("serves on as before")]);
    expect(stdout).toContain("back to 1.1.0");
  });
  expect(readlinkSync(box.at("opt/trivet/current"))).toBe("1.1.0");
  expect(await servingVersion()).toBe("1.1.0");
});

test("an installer that is killed is completed by the next one", async () => {
  for (const killAfterMs of [400, 1100]) {
    const program = join(bundle("1.0.0"), "bin/trivet");
    const argv = [program, "install", "--service-manager", "systemd", "--subnet", subnet, "--loopback"];
    await box.run(argv, { killAfterMs });
  }
  const { status, stdout, stderr } = await install("1.0.0");
  expect(status, stdout + stderr).toBe(0);
  expect(await servingVersion()).toBe("1.0.0");
  expect((await install("1.0.0")).stdout).toContain("nothing was to be done");
});

test("as long as a pod has an address of ours nothing is taken away", async () => {
  expect((await cni("ADD", "needed")).status).toBe(0);
  const { status, stderr } = await trivet("uninstall", "--service-manager", "systemd");
  expect([status, stderr]).toEqual([1, expect.stringContaining("default/needed")]);
  expect(existsSync(box.at(conflist))).toBe(true);
  expect((await cni("DEL", "needed")).status).toBe(0);
});

test("what was edited is named and kept, until force is used", async () => {
  const unit = box.at("etc/systemd/system/trivet-cri.service");
  const edited = `${readFileSync(unit, "utf8")}# mine\n`;
  writeFileSync(unit, edited);
  const refused = await install("1.0.0", "--components", "cri");
  expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining("changed since we wrote it")]);
  expect(readFileSync(unit, "utf8")).toBe(edited);
  expect((await install("1.0.0", "--components", "cri", "--force")).status).toBe(0);
  expect(readFileSync(unit, "utf8")).not.toContain("# mine");
});

test("as long as a conflist that was edited names the plugin, the plugin and its runtime stay", async () => {
  const written = readFileSync(box.at(conflist), "utf8");
  writeFileSync(box.at(conflist), `${written.trimEnd()} \n`);
  const there = ["opt/cni/bin/trivet", "opt/trivet/current"].map((path) => box.at(path));
  for (const argv of [
    ["uninstall", "cni"],
    ["uninstall", "--service-manager", "systemd"],
  ]) {
    const { status, stdout } = await trivet(...argv);
    expect([status, stdout]).toEqual([
      1,
      expect.stringContaining("kept: the conflist that was changed names"),
    ]);
    expect(there.map((path) => existsSync(path))).toEqual([true, true]);
  }
  writeFileSync(box.at(conflist), written);
  expect((await install("1.0.0")).status).toBe(0);
});

test("uninstalling stops the proxy, restores every file that was touched, and proves it", async () => {
  box.told();
  const { status, stdout, stderr } = await trivet("uninstall", "--service-manager", "systemd");
  expect(status, stdout + stderr).toBe(0);
  expect(outcomeOf(stdout, conflist)).toMatch(/^restored: file 0640 0 0 [0-9a-f]{16}/);
  expect(stdout).toContain("every path is as it was before");
  expect(box.told()).toEqual(["stop trivet-cri.socket trivet-cri.service", "daemon-reload"]);
  expect(runningVersions()).toEqual([]);
  expect(await box.disk()).toEqual(before);
  expect(existsSync(box.at("run/trivet"))).toBe(false);
  expect((await box.run(["nft", "list", "tables"])).stdout).toBe("");
  expect((await box.run(["ip", "-o", "link"])).stdout.trim().split("\n")).toHaveLength(1);
});

test("from a pod it is installed onto the node, by the node's own files and services", async () => {
  const argv = ["install", "--from-pod", "--host-pid", String(box.pid), "--service-manager", "systemd"];
  const flags = ["--subnet", subnet, "--edited", "replace", "--upstream", "unix:///run/containerd.sock"];
  const program = join(bundle("1.0.0"), "bin/trivet");
  const { status, stdout, stderr } = await box.runOutside([program, ...argv, ...flags]);
  expect(status, stdout + stderr).toBe(0);
  expect(outcomeOf(stdout, "/opt/trivet/current -> 1.0.0")).toBe("written");
  expect(await servingVersion()).toBe("1.0.0");
});

test("settings that were edited and volumes are not taken away, unless that is asked for", async () => {
  const settings = box.at("etc/trivet/config.yaml");
  writeFileSync(settings, `${readFileSync(settings, "utf8")}# mine\n`);
  mkdirSync(box.at("var/lib/trivet/pool/volumes"), { recursive: true });
  const { status, stdout } = await trivet("uninstall", "--service-manager", "systemd");
  expect(status, stdout).toBe(0);
  expect(outcomeOf(stdout, "/etc/trivet/config.yaml")).toContain("kept: it was edited, and is yours");
  expect(outcomeOf(stdout, "/var/lib/trivet/pool")).toBe("kept: --delete-data removes it");
  expect(readdirSync(box.at("var/lib/trivet"))).toEqual(["pool"]);
  const program = join(bundle("1.0.0"), "bin/trivet");
  expect((await box.run([program, "uninstall", "--delete-data"])).status).toBe(0);
  expect(existsSync(box.at("var/lib/trivet"))).toBe(false);
  expect(readFileSync(settings, "utf8")).toContain("# mine");
  rmSync(box.at("etc/trivet"), { recursive: true });
  expect(await box.disk()).toEqual(before);
});

test("from a pod that does not see the node nothing is installed", async () => {
  const argv = ["install", "--from-pod", "--host-pid", String(process.pid), "--subnet", subnet];
  const { status, stderr } = await box.runOutside([join(bundle("1.0.0"), "bin/trivet"), ...argv]);
  expect([status, stderr]).toEqual([1, expect.stringContaining("hostPID")]);
});

test("where directories are links, as with ostree, it is installed behind them, and it is seen which release runs", async () => {
  const links = ["opt/trivet", "opt/cni/bin", "etc/cni/net.d"];
  renameSync(box.at("etc/cni/net.d"), box.at("etc/cni/kept"));
  mkdirSync(box.at("opt/cni"));
  for (const [index, link] of links.entries()) {
    mkdirSync(box.at(`var/lib/elsewhere/${index}`), { recursive: true });
    symlinkSync(`/var/lib/elsewhere/${index}`, box.at(link));
  }
  const linked = await box.disk();
  for (const version of ["1.0.0", "1.1.0"]) {
    const { status, stdout, stderr } = await install(version);
    expect(status, stdout + stderr).toBe(0);
    box.told();
    const again = await install(version);
    expect([again.status, again.stdout]).toEqual([0, expect.stringContaining("nothing was to be done\n")]);
    expect(box.told()).not.toContain("reload trivet-cri.service");
  }
  // A version whose proxy does not start: it can be told that the one before serves.
  const { status, stdout } = await install("1.2.0");
  expect([status, stdout]).toEqual([1, expect.stringContaining("back to 1.1.0")]);
  const removed = await trivet("uninstall", "--service-manager", "systemd");
  expect(removed.status, removed.stdout + removed.stderr).toBe(0);
  expect(await box.disk()).toEqual(linked);
  for (const path of [...links, "opt/cni", "var/lib/elsewhere"]) rmSync(box.at(path), { recursive: true });
  renameSync(box.at("etc/cni/kept"), box.at("etc/cni/net.d"));
  expect(await box.disk()).toEqual(before);
});
