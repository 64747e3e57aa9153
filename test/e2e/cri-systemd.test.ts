/**
 * The units of the proxy under a real systemd: activation by the socket, reloads that change the main process and lose no
 * call, an upgrade behind the `current` link, a failed reload, and a restart after kill -9.
 */
import { cp, mkdir, mkdtemp, readFile, rm, symlink, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ControlStatus } from "../../src/commands/cri/reload-control.ts";
import { askAdmin } from "../../src/host/admin-socket.ts";
import { packageRoot } from "../../src/host/package-root.ts";
import { type FakeContainerd, startFakeContainerd } from "../fakes/containerd/server.ts";
import { connectCri } from "../fakes/kubelet/cri-client.ts";
import { startCriLoad } from "./support/cri-load.ts";
import { type PrivateSystemd, startSystemd } from "./support/systemd.ts";

const SERVICE = "trivet-cri.service";
const units = join(packageRoot, "daemonset/systemd");
const current = "trivet/current";

let directory: string;
let containerd: FakeContainerd;
let systemd: PrivateSystemd;

const at = (name: string) => join(directory, name);
const socket = () => systemd.path("/run/trivet/cri.sock");
const status = async () =>
  (await askAdmin(systemd.path("/run/trivet/cri.ctl"), "status", null)) as ControlStatus;
const show = () => systemd.show(SERVICE);
const config = (text: string) => writeFile(at("etc/config.yaml"), text);
const goodConfig = () => `cri:
  upstream: unix://${containerd.path}
  metricsAddress: 127.0.0.1:0
  drainSeconds: 2
  listeners: [{ name: agents, listen: "unix:///run/trivet-agents.sock", methods: [read-only] }]
`;

/** As docs/cri.md has it for a listener whose socket systemd is to hold as well. */
const AGENTS = "trivet-cri-agents.socket";
const agentsUnit = `[Socket]
ListenStream=/run/trivet-agents.sock
FileDescriptorName=agents
Service=${SERVICE}
SocketMode=0660
`;

/** A version as it lies below /opt/trivet: this checkout's sources under another number. */
async function makeVersion(version: string): Promise<void> {
  const root = at(`trivet/${version}`);
  await mkdir(root, { recursive: true });
  for (const part of ["bin", "src", "proto"]) {
    await cp(join(packageRoot, part), join(root, part), { recursive: true, dereference: true });
  }
  await symlink(join(packageRoot, "node_modules"), join(root, "node_modules"));
  const manifest = JSON.parse(await readFile(join(packageRoot, "package.json"), "utf8")) as object;
  await writeFile(join(root, "package.json"), JSON.stringify({ ...manifest, version }));
}

async function pointCurrentTo(version: string): Promise<void> {
  await unlink(at(current)).catch(() => undefined);
  await symlink(version, at(current));
}

/** The second socket is served under its own rule: each descriptor is known by its name. */
async function expectAgentsRestricted(): Promise<void> {
  const agent = connectCri({ path: systemd.path("/run/trivet-agents.sock") });
  expect(await agent.call("Version")).toMatchObject({ version: "0.1.0" });
  await expect(agent.call("RunPodSandbox")).rejects.toMatchObject({ code: 7 });
  agent.close();
}

async function systemctl(...words: string[]): Promise<{ exitCode: number; said: string }> {
  const { exitCode, stdout, stderr } = await systemd.run(["systemctl", ...words]);
  return { exitCode, said: `${stdout}${stderr}` };
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-sd-"));
  containerd = await startFakeContainerd({ path: at("containerd.sock"), runtimeVersion: "2.1.0" });
  await mkdir(at("etc"));
  await mkdir(at("log"));
  await config(goodConfig());
  await makeVersion("1.0.0");
  await makeVersion("2.0.0");
  await pointCurrentTo("1.0.0");
  const unit = async (name: string) => [name, await readFile(join(units, name), "utf8")] as const;
  systemd = await startSystemd({
    root: directory,
    units: {
      ...Object.fromEntries([await unit("trivet-cri.socket"), await unit(SERVICE)]),
      [AGENTS]: agentsUnit,
      // There is no journal. Whatever the machine's systemd has besides, the units are as they are shipped.
      [`${SERVICE}.d/log.conf`]: `[Service]\nStandardOutput=append:${at("cri.log")}\nStandardError=append:${at("cri.log")}\n`,
    },
    binds: { "/opt/trivet": at("trivet"), "/etc/trivet": at("etc"), "/var/log": at("log") },
  });
});
afterAll(async () => {
  await systemd?.stop();
  await containerd?.stop();
  await rm(directory, { recursive: true, force: true });
});

describe("the units of the proxy", () => {
  it("are what systemd accepts without a word", async () => {
    const names = ["trivet-cri.socket", SERVICE].map((name) => join(directory, "units", name));
    const { exitCode, stdout, stderr } = await systemd.run(["systemd-analyze", "verify", ...names]);
    expect(`${stdout}${stderr}`.split("\n").filter((line) => line.includes("trivet-cri"))).toEqual([]);
    expect(exitCode).toBe(0);
  });

  it("start the proxy for the first caller, who waits for it at the socket", async () => {
    expect(await systemctl("start", "trivet-cri.socket", AGENTS)).toMatchObject({ exitCode: 0 });
    expect(await show()).toMatchObject({ ActiveState: "inactive" });
    const kubelet = connectCri({ path: socket() });
    expect(await kubelet.call("Version")).toMatchObject({ version: "0.1.0" });
    kubelet.close();
    expect(await show()).toMatchObject({ ActiveState: "active", SubState: "running", Type: "notify" });
    expect(await status()).toMatchObject({
      version: "1.0.0",
      listeners: [
        { name: "cri", path: "/run/trivet/cri.sock", owner: "systemd" },
        { name: "agents", path: "/run/trivet-agents.sock", owner: "systemd" },
      ],
    });
    await expectAgentsRestricted();
  });

  it("reload it to the version behind the link, with a new main process, and lose no call", async () => {
    const before = await show();
    const load = startCriLoad({ path: socket(), callers: 8, connections: 2 });
    await expect.poll(() => load.calls, { timeout: 10_000 }).toBeGreaterThan(50);
    await pointCurrentTo("2.0.0");
    expect(await systemctl("reload", SERVICE)).toEqual({ exitCode: 0, said: "" });
    const seen = load.calls;
    await expect.poll(() => load.calls, { timeout: 10_000 }).toBeGreaterThan(seen + 50);
    await load.stop();
    expect(load.failures).toEqual([]);
    const after = await show();
    expect(after).toMatchObject({ ActiveState: "active", SubState: "running", NRestarts: "0" });
    expect(after.MainPID).not.toBe(before.MainPID);
    expect(after.StatusText).toMatch(/^serving /);
    expect(await status()).toMatchObject({ version: "2.0.0", state: "serving" });
    await expectAgentsRestricted();
    // The old process ends by itself, and systemd is none the worse for it.
    const tasks = async () => (await systemd.run(["cat", `/proc/${before.MainPID}/comm`])).exitCode;
    await expect.poll(tasks, { timeout: 10_000 }).not.toBe(0);
    expect(await show()).toMatchObject({ ActiveState: "active", MainPID: after.MainPID });
  });

  it("say that a reload has failed, and go on with the process that serves", async () => {
    const before = await show();
    await config("cri: { upstream: nonsense }\n");
    const failed = await systemctl("reload", SERVICE);
    expect(failed.exitCode).not.toBe(0);
    expect(await show()).toMatchObject({
      ActiveState: "active",
      SubState: "running",
      MainPID: before.MainPID,
    });
    await config(goodConfig());
    expect(await systemctl("reload", SERVICE)).toEqual({ exitCode: 0, said: "" });
    const kubelet = connectCri({ path: socket() });
    expect(await kubelet.call("Version")).toMatchObject({ version: "0.1.0" });
    kubelet.close();
  });

  it("start it again after kill -9, also where a reload made the main process, and callers wait meanwhile", async () => {
    const before = await show();
    expect(await systemctl("kill", "--kill-whom=main", "--signal=KILL", SERVICE)).toMatchObject({
      exitCode: 0,
    });
    // A new connection waits in the socket, which systemd holds.
    const kubelet = connectCri({ path: socket() });
    const answers = async () => (await kubelet.call("Version").catch(() => null))?.version;
    await expect.poll(answers, { timeout: 20_000 }).toBe("0.1.0");
    kubelet.close();
    await expect.poll(async () => (await show()).ActiveState, { timeout: 10_000 }).toBe("active");
    const after = await show();
    expect(after.MainPID).not.toBe(before.MainPID);
    expect(after.NRestarts).toBe("1");
  });

  it("stop it in order, and leave the socket to systemd", async () => {
    expect(await systemctl("stop", SERVICE)).toMatchObject({ exitCode: 0 });
    expect(await show()).toMatchObject({ ActiveState: "inactive", Result: "success" });
    expect((await systemd.show("trivet-cri.socket")).ActiveState).toBe("active");
    const kubelet = connectCri({ path: socket() });
    expect(await kubelet.call("Version")).toMatchObject({ version: "0.1.0" });
    kubelet.close();
  });
});
