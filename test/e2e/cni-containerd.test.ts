/**
 * A real containerd and `trivet node`, joined by nothing but what `trivet install cni` wrote: pods come and go while the agent and
 * containerd itself are killed and started again. Both are in a network namespace of their own, so that nothing of the machine's
 * network is touched.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { defaultCacheDir } from "../../src/cni/libcni-cache.ts";
import { createDaemon, type Daemon, socketAnswers } from "../../src/commands/demo/daemon.ts";
import { type CriClient, connectCri } from "../fakes/kubelet/cri-client.ts";
import { type RunningPod, startPod, stopPod } from "../fakes/kubelet/pod.ts";
import type { PodSpec } from "../fakes/kubelet/pod-config.ts";
import { uplink, World } from "./support/cni-world.ts";
import { type PrivateContainerd, startContainerd } from "./support/containerd.ts";
import { mountsBelow } from "./support/processes.ts";
import { type ProxiedCri, startProxiedCri } from "./support/proxied-cri.ts";

const repository = fileURLToPath(new URL("../..", import.meta.url));
const program = join(repository, "bin/trivet");
const network = `trivet-e2e-${process.pid}`;
const pool = "10.244.7.0/24";
const ofThePool = /^10\.244\.7\.\d+$/;
const hostPort = 8080;
/** busybox for Debian crashes in its own -T. */
const wget = ["timeout", "2", "wget", "-qO-"];
const get = ["busybox", ...wget];

let world: World;
let containerd: PrivateContainerd;
let proxy: ProxiedCri;
let agent: Daemon;
let cri: CriClient;
/** Every sandbox that there ever was. */
const sandboxes: string[] = [];
const pods = new Map<string, RunningPod>();
/** What was there before `install`. */
let before: { directories: string[]; node: ReturnType<World["picture"]> };

const at = (...parts: string[]) => join(world.directory, ...parts);

beforeAll(async () => {
  expect(process.getuid?.(), "this test starts a containerd: it needs root").toBe(0);
  execFileSync(join(repository, "hack/build-cni-client"), { stdio: ["ignore", "ignore", "inherit"] });
  world = new World();
  for (const name of ["bin", "net.d"]) {
    mkdirSync(at(name), { mode: 0o755 });
    writeFileSync(at(name, "README"), "another's");
  }
  mkdirSync(at("var"), { mode: 0o755 });
  const netns = world.netns("node");
  containerd = await startContainerd({
    ...{ root: at("c"), cniBinDir: at("bin"), cniConfDir: at("net.d"), netns },
  });
  proxy = await startProxiedCri(containerd.socket, world.directory);
  cri = connectCri({ path: proxy.path });
  agent = createDaemon({
    netns,
    args: [
      ...["node", "--no-csi", "--no-kubernetes", "--node-id", "node-1", "--state-dir", at("var")],
      ...["--cni-socket", `unix://${world.socket}`, "--cni-state-dir", world.stateDir],
      ...["--cni-conf-dir", at("net.d"), "--cri-socket", `unix://${containerd.socket}`],
    ],
    logFile: at("node.log"),
    ready: socketAnswers(world.socket),
  });
  await agent.start();
});

afterAll(async () => {
  cri?.close();
  await proxy?.stop();
  // Before the agent: it takes down what pods are left, and their network with them.
  await containerd?.stop();
  await agent?.stop();
  await world?.destroy();
  // Of pods that a failed test left, which without a conflist nobody could delete.
  for (const name of sandboxes.flatMap(cacheFiles)) rmSync(join(defaultCacheDir, "results", name));
});

/** In the node's network, as an administrator does it there. */
function trivet(...args: string[]): string {
  const argv = [`--net=${world.netns("node")}`, program, ...args];
  const { status, stdout, stderr } = spawnSync("nsenter", argv, { encoding: "utf8" });
  expect([status, stderr]).toEqual([0, ""]);
  return stdout;
}

/** All that `install` may write to, with modes and contents. */
function lookAtDirectories(): string[] {
  const look = (path: string): string[] => {
    const stat = statSync(path);
    const head = `${path} ${(stat.mode & 0o7777).toString(8)}`;
    if (!stat.isDirectory()) return [`${head} ${readFileSync(path).toString("base64")}`];
    const names = readdirSync(path).sort();
    return [head, ...names.flatMap((name) => look(join(path, name)))];
  };
  return [at("bin"), at("net.d"), at("var")].flatMap(look);
}

async function networkReady(): Promise<boolean | undefined> {
  const { status } = await cri.call("Status");
  return status?.conditions.find(({ type }) => type === "NetworkReady")?.status;
}

/** A pod that serves its own name over HTTP. */
async function start(name: string, more: Partial<PodSpec> = {}): Promise<RunningPod> {
  const serve = "mkdir /tmp/www; hostname > /tmp/www/index.html; exec httpd -f -p 80 -h /tmp/www";
  const pod = await startPod(
    { cri, kubeletRoot: at("kubelet"), logRoot: at("pods") },
    {
      ...{ name, namespace: "shop", uid: randomUUID() },
      containers: [{ name: "main", image: containerd.image, command: ["sh", "-c", serve] }],
      ...more,
    },
  );
  sandboxes.push(pod.sandboxId);
  pods.set(name, pod);
  return pod;
}

function podOf(name: string): RunningPod {
  const pod = pods.get(name);
  if (!pod) throw new Error(`there is no pod ${name}`);
  return pod;
}

async function inPod(pod: RunningPod, ...cmd: string[]): Promise<string> {
  const answer = await cri.call("ExecSync", { container_id: pod.containers.main, cmd, timeout: "10" });
  if (answer.exit_code !== 0) throw new Error(`${cmd.join(" ")}: ${answer.stderr}`);
  return String(answer.stdout).trim();
}

/** Who answers this pod at an address; a server may still be on its way up. */
const askedBy = (pod: RunningPod, address: string) =>
  expect.poll(() => inPod(pod, ...wget, `http://${address}/`), { timeout: 10_000 });

/** Who answers on the host's port, asked from the outside. */
const askedFromOutside = () =>
  expect.poll(() => world.exec("out", ...get, `http://${uplink.node}:${hostPort}/`).trim(), {
    timeout: 10_000,
  });

/** What says that the pod still has the address which it had at first: the kernel, containerd, and the lease. */
async function expectAddressKept(pod: RunningPod): Promise<void> {
  expect(await inPod(pod, "ip", "-4", "-o", "addr", "show", "eth0")).toContain(`inet ${pod.ip}/32`);
  const { status } = await cri.call("PodSandboxStatus", { pod_sandbox_id: pod.sandboxId });
  expect(status).toMatchObject({ state: "SANDBOX_READY", network: { ip: pod.ip } });
  expect(leases()).toContainEqual([pod.sandboxId, pod.ip]);
}

function leases(): [string, string][] {
  const listed = JSON.parse(trivet("network", "leases", "--state-dir", world.stateDir, "-o", "json")) as {
    containerId: string;
    address: string;
    state: string;
  }[];
  return listed.map(({ containerId, address }) => [containerId, address]);
}

/** What libcni keeps of a sandbox, of its loopback too. */
const cacheFiles = (sandboxId: string) =>
  readdirSync(join(defaultCacheDir, "results")).filter((name) => name.includes(sandboxId));

/** The elements of the sets and maps of our table, as text: one for each host port and masqueraded network. */
function ruleElements(): string[] {
  const { nftables } = JSON.parse(world.exec("node", "nft", "-j", "list", "table", "inet", "trivet")) as {
    nftables: { set?: { elem?: unknown[] }; map?: { elem?: unknown[] } }[];
  };
  return nftables.flatMap(({ set, map }) => (set ?? map)?.elem ?? []).map((elem) => JSON.stringify(elem));
}

/**
 * What the agents have answered for this pod, each kind once, as command and CNI code. containerd makes two DELs: the second one
 * when the sandbox is removed.
 */
function answeredFor({ sandboxId }: RunningPod): string[] {
  const lines = readFileSync(at("node.log"), "utf8").trim().split("\n");
  const calls = lines.map(
    (line) => JSON.parse(line) as { containerId?: string; command?: string; code?: number },
  );
  const own = calls.filter(({ containerId }) => containerId === sandboxId);
  return [...new Set(own.map(({ command, code }) => `${command} ${code}`))];
}

/** Ends a pod, and sees that nothing of it is left, neither ours nor containerd's. */
async function stop(name: string): Promise<void> {
  const pod = podOf(name);
  expect(cacheFiles(pod.sandboxId).sort()).toEqual([
    `cni-loopback-${pod.sandboxId}-lo`,
    `${network}-${pod.sandboxId}-eth0`,
  ]);
  await stopPod(pod, 0);
  pods.delete(name);
  expect(cacheFiles(pod.sandboxId)).toEqual([]);
  expect(leases().map(([containerId]) => containerId)).not.toContain(pod.sandboxId);
  const { links, routes, neighbours, files } = world.picture();
  expect(routes + neighbours).not.toContain(`${pod.ip} `);
  // One link, and one neighbour, for each pod that is left.
  expect(links.trim().split("\n")).toHaveLength(before.node.links.trim().split("\n").length + pods.size);
  expect(files.filter((path) => path.includes(pod.sandboxId))).toEqual([]);
}

test("containerd takes up what is installed, without a restart", async () => {
  expect(await networkReady()).toBe(false);
  before = { directories: lookAtDirectories(), node: world.picture() };
  trivet(
    ...["install", "cni", "--subnet", pool, "--name", network, "--loopback", "--runtime", program],
    ...["--bin-dir", at("bin"), "--conf-dir", at("net.d"), "--state-dir", at("var")],
    ...["--socket", world.socket, "--lease-dir", world.stateDir],
  );
  const { pid } = containerd;
  await expect.poll(networkReady, { timeout: 10_000 }).toBe(true);
  expect(containerd.pid).toBe(pid);
  // Not a script that stands in for it.
  expect(readFileSync(at("bin", "trivet")).subarray(0, 4).toString("latin1")).toBe("\x7fELF");
  expect(readFileSync(at("bin", "loopback"))).toEqual(readFileSync(at("bin", "trivet")));
});

test("pods get addresses of the pool through the agent, reach one another and themselves, and stop", async () => {
  const [web, client] = [
    await start("web", { portMappings: [{ containerPort: 80, hostPort }] }),
    await start("client"),
  ];
  expect(web.ip).toMatch(ofThePool);
  expect(client.ip).toMatch(ofThePool);
  expect(new Set(leases())).toEqual(new Set([web, client].map(({ sandboxId, ip }) => [sandboxId, ip])));
  await askedBy(client, web.ip).toBe("web");
  await askedBy(web, client.ip).toBe("client");
  await askedBy(web, "127.0.0.1").toBe("web");
  await stop("client");
  expect(answeredFor(web)).toEqual(["ADD 0"]);
  expect(answeredFor(client)).toEqual(["ADD 0", "DEL 0"]);
});

test("a pod answers on its host port, from outside and on the node itself", async () => {
  await askedFromOutside().toBe("web");
  const own = world.exec("node", ...get, `http://127.0.0.1:${hostPort}/`);
  expect(own.trim()).toBe("web");
});

test("a pod keeps its address when the agent is killed, and one starts while it is away; the next agent deletes both", async () => {
  const survivor = await start("survivor");
  await agent.kill();
  const alone = await start("alone");
  expect(alone.ip).toMatch(ofThePool);
  expect(alone.ip).not.toBe(survivor.ip);
  await askedBy(survivor, alone.ip).toBe("alone");
  await askedBy(alone, podOf("web").ip).toBe("web");
  await agent.start();
  for (const pod of [survivor, alone, podOf("web")]) await expectAddressKept(pod);
  await askedBy(alone, survivor.ip).toBe("survivor");
  await askedFromOutside().toBe("web");
  await stop("survivor");
  await stop("alone");
  expect(answeredFor(survivor)).toEqual(["ADD 0", "DEL 0"]);
  // The plugin itself added it.
  expect(answeredFor(alone)).toEqual(["DEL 0"]);
});

test("a pod keeps its address when containerd is killed, and is deleted by the next one", async () => {
  const pod = await start("pod");
  const { pid } = containerd;
  await containerd.restart();
  expect(containerd.pid).not.toBe(pid);
  await expect.poll(() => networkReady().catch(() => undefined), { timeout: 10_000 }).toBe(true);
  for (const each of [pod, podOf("web")]) await expectAddressKept(each);
  await askedBy(pod, podOf("web").ip).toBe("web");
  await stop("pod");
  const next = await start("next");
  await askedBy(podOf("web"), next.ip).toBe("next");
  await stop("next");
});

test("the pod that saw all of it is deleted, and nothing is left of any", async () => {
  await askedFromOutside().toBe("web");
  expect(ruleElements().join()).toContain(String(hostPort));
  await stop("web");
  expect(leases()).toEqual([]);
  expect(world.picture()).toEqual(before.node);
  // The pool stays to be masqueraded: the next pod needs it.
  expect(ruleElements()).toEqual([JSON.stringify({ prefix: { addr: "10.244.7.0", len: 24 } })]);
  expect(sandboxes).toHaveLength(6);
  expect(sandboxes.flatMap(cacheFiles)).toEqual([]);
  expect((await mountsBelow(containerd.paths.root)).filter((path) => /netns|rootfs|shm/.test(path))).toEqual(
    [],
  );
  expect((await cri.call("ListPodSandbox")).items).toEqual([]);
});

test("what was installed is taken away, and containerd sees that too", async () => {
  trivet("uninstall", "cni", "--state-dir", at("var"));
  expect(lookAtDirectories()).toEqual(before.directories);
  await expect.poll(networkReady, { timeout: 10_000 }).toBe(false);
});
