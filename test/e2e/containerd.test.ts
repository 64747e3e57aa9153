import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createExec } from "../../src/host/exec.ts";
import { createSyscalls } from "../../src/host/syscall.ts";
import { playRule, rules } from "../fakes/containerd/rules.ts";
import { type CriClient, connectCri } from "../fakes/kubelet/cri-client.ts";
import { type KubeletDeps, readLog, startPod, stopPod, waitForExit } from "../fakes/kubelet/pod.ts";
import { connectRawCri } from "../fakes/kubelet/raw-cri-client.ts";
import { groupsOf } from "./support/cgroups.ts";
import { type PrivateContainerd, startContainerd } from "./support/containerd.ts";
import { mountsBelow, processesWith } from "./support/processes.ts";
import { type ProxiedCri, startProxiedCri } from "./support/proxied-cri.ts";

const bridge = "tve2ebr0";
const exec = createExec("/usr/sbin:/usr/bin:/sbin:/bin", createSyscalls());
const command = async (...argv: [string, ...string[]]) => (await exec(argv, { timeoutMs: 10_000 })).stdout;

let directory: string;
let containerd: PrivateContainerd;
let proxy: ProxiedCri;
let cri: CriClient;
let deps: KubeletDeps;
/** Of sandboxes and containers: what is theirs must be gone at the end, whatever else this machine does meanwhile. */
const ids: string[] = [];

const conflist = {
  cniVersion: "1.0.0",
  name: "trivet-e2e",
  plugins: [
    {
      type: "bridge",
      bridge,
      // No gateway and no routes: the plugin would switch on forwarding for the whole machine.
      ipam: { type: "host-local", ranges: [[{ subnet: "10.213.77.0/24" }]] },
    },
  ],
};

beforeAll(async () => {
  if (process.getuid?.() !== 0) throw new Error("this test starts a containerd: it needs root");
  directory = await mkdtemp("/tmp/tve2e-");
  const cniConfDir = join(directory, "net.d");
  const dataDir = join(directory, "cni-data");
  await mkdir(cniConfDir);
  const plugins = conflist.plugins.map((plugin) => ({ ...plugin, ipam: { ...plugin.ipam, dataDir } }));
  await writeFile(join(cniConfDir, "10-e2e.conflist"), JSON.stringify({ ...conflist, plugins }));
  containerd = await startContainerd({ root: join(directory, "c"), cniBinDir: "/usr/lib/cni", cniConfDir });
  proxy = await startProxiedCri(containerd.socket, directory);
  cri = connectCri({ path: proxy.path });
  deps = { cri, kubeletRoot: join(directory, "kubelet"), logRoot: join(directory, "pods") };
});

afterAll(async () => {
  cri?.close();
  await proxy?.stop();
  await containerd?.stop();
  const ports = await command("ip", "-brief", "link", "show", "master", bridge);
  await command("ip", "link", "delete", bridge);
  await rm(directory, { recursive: true, force: true });
  expect(await mountsBelow(directory)).toEqual([]);
  expect(await processesWith(directory)).toEqual([]);
  expect(ports).toBe("");
  expect(ids).toHaveLength(4);
  expect(await groupsOf(ids)).toEqual([]);
});

describe("a private containerd, through the proxy,", () => {
  it("is ready for a kubelet, with a network", async () => {
    const { status } = await cri.call("Status");
    expect(status?.conditions).toMatchObject([
      { type: "RuntimeReady", status: true },
      { type: "NetworkReady", status: true },
    ]);
  });

  it("runs a pod of the busybox image made here, whose output is read back, and leaves nothing", async () => {
    const pod = await startPod(deps, {
      name: "web",
      namespace: "shop",
      uid: "2a6d1b1c-0000-4000-8000-00000000e2e1",
      containers: [
        {
          name: "main",
          image: containerd.image,
          command: ["sh", "-c", "echo $GREETING; ip -4 -o addr show eth0; cat /etc/hostname; exit 3"],
          env: { GREETING: "hello" },
        },
      ],
    });
    ids.push(pod.sandboxId, ...Object.values(pod.containers));
    expect(pod.ip).toMatch(/^10\.213\.77\.\d+$/);
    expect(await waitForExit(pod, "main")).toMatchObject({ exit_code: 3, reason: "Error" });
    const [greeting, address, hostname] = (await readLog(pod, "main")).map(({ text }) => text);
    expect(greeting).toBe("hello");
    expect(address).toContain(`inet ${pod.ip}/24`);
    expect(hostname).toBe("web");
    await stopPod(pod);
    expect((await cri.call("ListPodSandbox")).items).toEqual([]);
    expect((await cri.call("ListContainers")).containers).toEqual([]);
    const mounts = await mountsBelow(containerd.paths.root);
    expect(mounts.filter((path) => /rootfs|netns|shm/.test(path))).toEqual([]);
    expect((await processesWith(containerd.socket)).filter(({ argv }) => /shim/.test(argv[0] ?? ""))).toEqual(
      [],
    );
  });

  it("kubelet 1.28: answers calls whose :authority is the raw path of the socket", async () => {
    const raw = await connectRawCri({ path: proxy.path });
    expect(await raw.call("Version")).toMatchObject({ version: "0.1.0", runtime_name: "containerd" });
    for (const rule of rules) {
      const stage = { cri: raw, image: containerd.image, logRoot: join(directory, "raw") };
      expect(await playRule(rule, stage)).toEqual(rule.transcript);
    }
    raw.close();
  });

  it.each(rules)("keeps the rule that the fake was written by: $title", async (rule) => {
    const stage = { cri, image: containerd.image, logRoot: join(directory, "rules") };
    expect(await playRule(rule, stage)).toEqual(rule.transcript);
  });

  it("writes its log below its own root", async () => {
    expect(await readFile(containerd.paths.log, "utf8")).toContain("containerd successfully booted");
  });
});

it("stops also what is left of a containerd that was killed: shims, containers, mounts", async () => {
  const root = join(directory, "k");
  const killed = await startContainerd({
    root,
    cniBinDir: "/usr/lib/cni",
    cniConfDir: join(directory, "no-net.d"),
  });
  const client = connectCri({ path: killed.socket });
  const pod = await startPod(
    { ...deps, cri: client },
    {
      name: "left",
      namespace: "shop",
      uid: "2a6d1b1c-0000-4000-8000-00000000e2e2",
      hostNetwork: true,
      containers: [{ name: "main", image: killed.image, command: ["sleep", "1000"] }],
    },
  );
  ids.push(pod.sandboxId, ...Object.values(pod.containers));
  expect(pod.ip).toBe("");
  client.close();
  process.kill(killed.pid, "SIGKILL");
  // Somebody else who only talks to that socket is none of containerd's children.
  const bystander = spawn("sleep", ["1000"], { stdio: "ignore", argv0: `sleep-for-${killed.socket}` });
  const left = await processesWith(killed.socket);
  expect(left.map(({ argv }) => argv.join(" "))).toContain("sleep 1000");
  expect(await mountsBelow(root)).not.toEqual([]);
  await killed.stop();
  expect((await processesWith(killed.socket)).map(({ pid }) => pid)).toEqual([bystander.pid]);
  const ended = new Promise((resolve) => bystander.once("exit", resolve));
  bystander.kill();
  await ended;
  expect(await mountsBelow(root)).toEqual([]);
  expect(await readdir(directory)).not.toContain("k");
});
