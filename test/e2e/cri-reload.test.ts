/**
 * Reloads of `trivet cri` under load, in both ways: by a successor that inherits the sockets, and by a newcomer that takes the
 * path. No call may be lost, and whoever is killed at whatever moment, one of the two must serve.
 */
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ControlStatus, ReloadAnswer } from "../../src/commands/cri/reload-control.ts";
import { createDaemon, type Daemon, socketAnswers } from "../../src/commands/demo/daemon.ts";
import { askAdmin } from "../../src/host/admin-socket.ts";
import { packageRoot } from "../../src/host/package-root.ts";
import { type FakeContainerd, startFakeContainerd } from "../fakes/containerd/server.ts";
import { connectCri } from "../fakes/kubelet/cri-client.ts";
import { startCriLoad, subscribeToEvents } from "./support/cri-load.ts";

let directory: string;
let containerd: FakeContainerd;
const daemons: Daemon[] = [];

const at = (name: string) => join(directory, name);
const socket = () => at("cri.sock");
const control = () => at("cri.ctl");
const logLines = async (file = "cri.log") =>
  (await readFile(at(file), "utf8").catch(() => ""))
    .split("\n")
    .filter((line) => line.startsWith("{")) // an error that ends a process is for people
    .map((line) => JSON.parse(line) as { message: string; [field: string]: unknown });

function createProxy(file: string, ...flags: string[]): Daemon {
  const daemon = createDaemon({
    args: [
      "cri",
      ...["--listen", `unix://${socket()}`, "--upstream", `unix://${containerd.path}`],
      ...["--call-log", at("calls.jsonl"), "--drain-seconds", "5", ...flags],
    ],
    logFile: at(file),
    ready: async () => (await logLines(file)).some(({ message }) => message === "ready"),
  });
  daemons.push(daemon);
  return daemon;
}

const status = async () => (await askAdmin(control(), "status", null)) as ControlStatus;
const reload = async () => (await askAdmin(control(), "reload", null)) as ReloadAnswer;

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It was faster.
  }
}

/** All processes that serve this test's socket or are about to, as shells too: they have its path among their arguments. */
async function proxies(): Promise<number[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (pid) => {
      const argv = (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).split("\0");
      return argv.includes(`unix://${socket()}`) && argv.includes("cri") ? Number(pid) : undefined;
    }),
  );
  return found.filter((pid) => pid !== undefined);
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-reload-"));
  containerd = await startFakeContainerd({ path: at("containerd.sock"), runtimeVersion: "2.1.0" });
});
afterEach(async () => {
  for (const pid of await proxies()) process.kill(pid, "SIGKILL");
  for (const daemon of daemons.splice(0)) await daemon.kill();
  await containerd.stop();
  await rm(directory, { recursive: true, force: true });
});

/** A sandbox at the runtime itself: an event for every subscriber. */
async function makeEvent(name: string): Promise<void> {
  const direct = connectCri({ path: containerd.path });
  const metadata = { name, namespace: "default", uid: name, attempt: 0 };
  await direct.call("RunPodSandbox", { config: { metadata } });
  direct.close();
}

/** The load of the issue: 32 callers, a call that takes seconds, a stream of events. */
async function underLoad(
  during: () => Promise<void>,
): Promise<{ calls: number; failures: readonly string[] }> {
  const kubelet = connectCri({ path: socket() });
  const events = subscribeToEvents(socket());
  await expect.poll(() => containerd.events.subscribers, { timeout: 10_000 }).toBe(1);
  containerd.inject("StopContainer", { delayMs: 4_000 });
  const stopping = kubelet
    .call("StopContainer", { container_id: "none", timeout: "30" })
    .catch((error: { code: number; details: string }) => error);
  await expect.poll(() => containerd.requests.of("StopContainer").length, { timeout: 10_000 }).toBe(1);
  const load = startCriLoad({ path: socket(), callers: 32, connections: 4 });
  await expect.poll(() => load.calls, { timeout: 10_000 }).toBeGreaterThan(100);
  await during();
  const before = load.calls;
  await expect.poll(() => load.calls, { timeout: 10_000 }).toBeGreaterThan(before + 100);
  // The long call and the stream began before, and are where they were.
  expect(events.end).toBeUndefined();
  const seen = events.types.length;
  await makeEvent("after-the-reloads");
  await expect.poll(() => events.types.length, { timeout: 10_000 }).toBeGreaterThan(seen);
  expect(await stopping).toMatchObject({ code: 5, details: expect.stringContaining("none") });
  await load.stop();
  kubelet.close();
  events.close();
  return { calls: load.calls, failures: load.failures };
}

describe("a reload by a successor", () => {
  it("loses no call, twice, under a load of 32 callers, a long call and an event stream", async () => {
    const first = createProxy("cri.log", "--metrics-address", "127.0.0.1:0");
    await first.start();
    const pids = [first.pid];
    const { calls, failures } = await underLoad(async () => {
      for (let turn = 0; turn < 2; turn += 1) {
        const { from, to } = await reload();
        expect(from.pid).toBe(pids.at(-1));
        pids.push(to.pid);
        expect(await status()).toMatchObject({ pid: to.pid, state: "serving" });
      }
    });
    expect(failures).toEqual([]);
    expect(calls).toBeGreaterThan(1_000);
    // With their calls over, those that served before are gone, and the last one is left.
    await expect.poll(proxies, { timeout: 15_000 }).toEqual([pids.at(-1)]);
    expect(new Set(pids).size).toBe(3);
    // The record of all of them is in one file, whole lines only.
    const records = (await readFile(at("calls.jsonl"), "utf8")).trimEnd().split("\n");
    const methods = records.map((line) => (JSON.parse(line) as { method: string }).method);
    expect(methods.filter((method) => method === "StopContainer")).toHaveLength(1);
    expect((await readdir(directory)).filter((name) => name.startsWith("."))).toEqual([]);
  });

  it("goes on with the old process when the new one does not come, and says why", async () => {
    const policies = at("policies");
    const metrics = `127.0.0.1:${20_000 + (process.pid % 1_000)}`;
    const daemon = createProxy("cri.log", "--policy-dir", policies, "--metrics-address", metrics);
    await mkdir(policies);
    await daemon.start();
    await writeFile(join(policies, "bad.yaml"), "kind: Nonsense\n");
    const load = startCriLoad({ path: socket(), callers: 4, connections: 2 });
    await expect(reload()).rejects.toThrow(
      new RegExp(`^the reload failed, and process ${daemon.pid} goes on serving: .*bad.yaml`, "s"),
    );
    expect(await status()).toMatchObject({ pid: daemon.pid, state: "serving" });
    expect(await proxies()).toEqual([daemon.pid]);
    // What was never given away need not be taken back.
    expect((await logLines()).map(({ message }) => message)).not.toContain("not all was taken back");
    expect(await (await fetch(`http://${metrics}/metrics`)).text()).toContain(
      'trivet_cri_reloads_total{what="process",result="failed"} 1',
    );
    await rm(join(policies, "bad.yaml"));
    const { to } = await reload();
    expect(to.pid).not.toBe(daemon.pid);
    await load.stop();
    expect(load.failures).toEqual([]);
  });

  it.each([
    ["ends all at once with SIGTERM to both, and leaves no socket", "both"],
    ["lets the new process go on when the old one is told to end before its time", "old"],
  ] as const)("%s", async (_, end) => {
    const daemon = createProxy("cri.log");
    await daemon.start();
    const kubelet = connectCri({ path: socket() });
    containerd.inject("Version", { delayMs: 60_000, times: 1 });
    const outcome = kubelet.call("Version").catch((error: unknown) => error);
    await expect.poll(() => containerd.requests.of("Version").length, { timeout: 10_000 }).toBe(1);
    const { from, to } = await reload();
    expect(isAlive(from.pid)).toBe(true); // it has a call yet
    for (const pid of end === "both" ? [from.pid, to.pid] : [from.pid]) process.kill(pid, "SIGTERM");
    expect(await outcome).toMatchObject({ code: 14 });
    await expect.poll(proxies, { timeout: 10_000 }).toEqual(end === "both" ? [] : [to.pid]);
    const left = (await readdir(directory)).filter((name) => /^\.|^cri\.(sock|ctl)$/.test(name));
    expect(left.sort()).toEqual(end === "both" ? [] : ["cri.ctl", "cri.sock"]);
    // grpc-js waits for a while before it dials again.
    const answers = async () => (await kubelet.call("Version").catch(() => null))?.version;
    if (end === "old") await expect.poll(answers, { timeout: 10_000 }).toBe("0.1.0");
    kubelet.close();
  });
});

describe("a process that cannot serve", () => {
  const start = async (...args: string[]) => {
    const started = spawn(join(packageRoot, "bin/trivet"), ["cri", ...args], { stdio: "ignore" });
    const timer = setTimeout(() => started.kill("SIGKILL"), 15_000);
    const code = await new Promise((resolve) => started.once("exit", resolve));
    clearTimeout(timer);
    return code;
  };
  const writeConfig = (name: string, listener: string) =>
    writeFile(
      at(name),
      `cri:
  listen: unix://${socket()}
  upstream: unix://${containerd.path}
  callLog: ${at("calls.jsonl")}
  metricsAddress: 127.0.0.1:0
  listeners: [${listener}]
`,
    );

  it("ends, whatever it has opened by then, and leaves nothing", async () => {
    await writeConfig("bad.yaml", `{ name: a, listen: "unix://${at("file")}", methods: [stats] }`);
    await writeFile(at("file"), "");
    expect(await start("--config", at("bad.yaml"))).toBe(1);
    expect((await readdir(directory)).filter((name) => /^cri\.(sock|ctl)$|^\.\d/.test(name))).toEqual([]);
    const first = createProxy("cri.log");
    await first.start();
    const listen = ["--listen", `unix://${socket()}`, "--metrics-address", "127.0.0.1:0"];
    expect(await start(...listen)).toBe(1);
    expect(await status()).toMatchObject({ pid: first.pid });
  });

  it("takes no call as a successor before it knows that it can have all of its sockets", async () => {
    await writeConfig("config.yaml", "");
    const daemon = createDaemon({
      args: ["cri", "--config", at("config.yaml"), "--listen", `unix://${socket()}`],
      logFile: at("cri.log"),
      ready: socketAnswers(socket()),
    });
    daemons.push(daemon);
    await daemon.start();
    await writeFile(at("file"), "");
    const bad = `{ name: a, listen: "unix://${at("a.sock")}", methods: [stats] }`;
    await writeConfig("config.yaml", `${bad}, { name: b, listen: "unix://${at("file")}", methods: [stats] }`);
    const load = startCriLoad({ path: socket(), callers: 16, connections: 8 });
    await expect(reload()).rejects.toThrow(/goes on serving: .*file is not a socket/);
    expect(await status()).toMatchObject({ pid: daemon.pid, state: "serving" });
    await load.stop();
    expect(load.failures).toEqual([]);
    await expect.poll(proxies).toEqual([daemon.pid]);
    // One question after the other fails, and none of them leaves a socket.
    const sockets = async () =>
      (await readFile("/proc/net/unix", "utf8")).split("\n").filter((line) => line.includes(directory))
        .length;
    const before = await sockets();
    await expect(reload()).rejects.toThrow(/not a socket/);
    expect(await sockets()).toBe(before);
  });

  it("leaves no successor behind that it began to start when it was told to end", async () => {
    const daemon = createProxy("cri.log");
    await daemon.start();
    const asked = reload().catch((error: Error) => error);
    while (!(await logLines()).some(({ message }) => message === "reloading")) await sleep(1);
    process.kill(daemon.pid ?? 0, "SIGTERM");
    expect(await asked).toMatchObject({ message: expect.stringContaining("was told to end") });
    await expect.poll(proxies, { timeout: 10_000 }).toEqual([]);
    await sleep(1_000); // a shell that starts one is no proxy yet
    expect(await proxies()).toEqual([]);
    expect(await socketAnswers(socket())()).toBe(false);
  });
});

describe("a take-over by path", () => {
  it("loses no call, twice, under a load of 32 callers, a long call and an event stream", async () => {
    const first = createProxy("cri.log");
    await first.start();
    let last = first;
    const { calls, failures } = await underLoad(async () => {
      for (const file of ["second.log", "third.log"]) {
        last = createProxy(file, "--take-over");
        await last.start();
        expect(await status()).toMatchObject({ pid: last.pid, state: "serving" });
      }
    });
    expect(failures).toEqual([]);
    expect(calls).toBeGreaterThan(1_000);
    await expect.poll(proxies, { timeout: 15_000 }).toEqual([last.pid]);
    expect((await readdir(directory)).filter((name) => name.startsWith("."))).toEqual([]);
    // And by the other way again, from a process that took over.
    const { to } = await reload();
    await expect.poll(proxies, { timeout: 15_000 }).toEqual([to.pid]);
    expect(await socketAnswers(socket())()).toBe(true);
  });

  it("starts as any other where nobody serves, and where one was killed", async () => {
    const first = createProxy("cri.log", "--take-over");
    await first.start();
    await first.kill();
    const second = createProxy("second.log", "--take-over");
    await second.start();
    expect(await status()).toMatchObject({ pid: second.pid, state: "serving" });
  });
});

describe("kill -9", () => {
  /** The steps of a hand-over, as the log has them; the victim is killed when the line is there. */
  const moments: readonly (readonly [victim: "old" | "new", after: string])[] = [
    ["old", "reloading"],
    ["new", "successor started"],
    ["old", "successor started"],
    ["new", "successor is prepared"],
    ["old", "successor is prepared"],
    ["old", "handed over"],
  ];

  it.each(moments)("of the %s process after '%s' leaves one that serves", async (victim, after) => {
    const daemon = createProxy("cri.log");
    await daemon.start();
    const old = daemon.pid ?? 0;
    const before = (await logLines()).length;
    const asked = reload().catch((error: Error) => error);
    const seen = async () => (await logLines()).slice(before).some(({ message }) => message === after);
    while (!(await seen())) await sleep(1);
    const others = (await proxies()).filter((pid) => pid !== old);
    for (const pid of victim === "old" ? [old] : others) kill(pid);
    await asked;
    // Somebody serves: the old one as before, or the new one, which has the sockets. A new one that was killed when it was
    // the only one already is a crash like any other: what is started next finds its way.
    const kubelet = connectCri({ path: socket() });
    const serves = async () => {
      if ((await proxies()).length === 0) await createProxy("again.log").start();
      return (await kubelet.call("Version").catch(() => null))?.version;
    };
    await expect.poll(serves, { timeout: 20_000 }).toBe("0.1.0");
    // One process is left, it can be asked, and the next reload works.
    await expect.poll(async () => (await proxies()).length, { timeout: 15_000 }).toBe(1);
    await expect
      .poll(() => status().catch(() => null), { timeout: 15_000 })
      .toMatchObject({ state: "serving" });
    expect((await status()).pid).toBe((await proxies())[0]);
    kubelet.close();
  });

  it("of a newcomer that has the names, but did not say that it serves, gives them back", async () => {
    const daemon = createProxy("cri.log");
    await daemon.start();
    // A newcomer of its own kind: it asks for the name, and dies with it.
    const newcomer = createServer();
    const temporary = at(".newcomer.sock");
    await new Promise<void>((resolve) => newcomer.listen(temporary, resolve));
    const body = spawn("sleep", ["100"]);
    await askAdmin(control(), "take-over", { pid: body.pid, names: [{ path: socket(), temporary }] });
    await new Promise((resolve) => newcomer.close(resolve));
    body.kill("SIGKILL");
    await expect.poll(async () => (await status()).state, { timeout: 10_000 }).toBe("serving");
    const kubelet = connectCri({ path: socket() });
    expect(await kubelet.call("Version")).toMatchObject({ version: "0.1.0" });
    kubelet.close();
    expect((await logLines()).map(({ message }) => message)).toContain(
      "the reload failed: this process goes on serving",
    );
  });
});
