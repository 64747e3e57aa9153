/** How a daemon starts and ends, seen from outside: `trivet cri` as a process in front of the fake containerd. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createDaemon, type Daemon, socketAnswers } from "../src/commands/demo/daemon.ts";
import { type FakeContainerd, startFakeContainerd } from "./fakes/containerd/server.ts";
import { type CriClient, connectCri } from "./fakes/kubelet/cri-client.ts";

const INTERNAL = 13;
const UNAVAILABLE = 14;
const SECOND_SIGNAL = 130;

let directory: string;
let containerd: FakeContainerd;
let proxy: Daemon;
let client: CriClient;

const socket = () => join(directory, "cri.sock");
const logFile = () => join(directory, "cri.log");

function createProxyDaemon(drainSeconds: number): Daemon {
  const [listen, upstream] = [`unix://${socket()}`, `unix://${containerd.path}`];
  return createDaemon({
    args: ["cri", "--listen", listen, "--upstream", upstream, "--drain-seconds", String(drainSeconds)],
    logFile: logFile(),
    ready: socketAnswers(socket()),
  });
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-life-"));
  containerd = await startFakeContainerd({ path: join(directory, "containerd.sock") });
});
afterAll(async () => {
  await containerd.stop();
  await rm(directory, { recursive: true, force: true });
});
beforeEach(() => {
  containerd.requests.clear();
  client = connectCri({ path: socket() });
});
afterEach(async () => {
  client.close();
  await proxy.kill();
});

/** A call of Version that the runtime answers after `delayMs`, once the runtime has it. */
async function callInFlight(delayMs: number): Promise<{ readonly outcome: Promise<unknown> }> {
  containerd.inject("Version", { delayMs, times: 1 });
  const outcome = client.call("Version").catch((error: unknown) => error);
  await expect.poll(() => containerd.requests.of("Version").length, { timeout: 5_000 }).toBe(1);
  return { outcome };
}

describe("a daemon", () => {
  it("lets a call in flight end when it gets SIGTERM, then exits with 0", async () => {
    proxy = createProxyDaemon(10);
    await proxy.start();
    const { outcome } = await callInFlight(500);
    expect(await proxy.stop()).toBe(0);
    expect(await outcome).toMatchObject({ version: "0.1.0" });
    expect(await socketAnswers(socket())()).toBe(false);
  });

  it("exits with 0 at the end of its time also if a call goes on, which ends with an error", async () => {
    proxy = createProxyDaemon(0.3);
    await proxy.start();
    const { outcome } = await callInFlight(60_000);
    expect(await proxy.stop()).toBe(0);
    expect(await outcome).toMatchObject({ code: UNAVAILABLE });
  });

  it("exits at once at a second signal", async () => {
    proxy = createProxyDaemon(60);
    await proxy.start();
    const { outcome } = await callInFlight(60_000);
    const { pid = 0 } = proxy;
    const ended = proxy.stop();
    await expect.poll(() => readFile(logFile(), "utf8"), { timeout: 5_000 }).toMatch(/"stopping"\}\n$/);
    process.kill(pid, "SIGINT");
    expect(await ended).toBe(SECOND_SIGNAL);
    // Nobody was left to answer. grpc-js calls a connection that the kernel reset INTERNAL, one that it ended UNAVAILABLE.
    expect([INTERNAL, UNAVAILABLE]).toContain(((await outcome) as { code?: number }).code);
  });

  it("replaces the socket that a killed one left behind", async () => {
    proxy = createProxyDaemon(1);
    await proxy.start();
    await proxy.kill();
    expect(await socketAnswers(socket())()).toBe(false);
    await proxy.start();
    expect(await client.call("Version")).toMatchObject({ version: "0.1.0" });
  });

  it("never takes a socket from a live one, and says who has it", async () => {
    proxy = createProxyDaemon(1);
    await proxy.start();
    const second = createDaemon({
      args: ["cri", "--listen", `unix://${socket()}`, "--upstream", `unix://${containerd.path}`],
      logFile: join(directory, "second.log"),
      ready: async () => false,
    });
    await expect(second.start()).rejects.toThrow("ended with code 1");
    expect(await second.logTail(1)).toEqual([
      `trivet: ${socket()} is served by another process: stop that one first`,
    ]);
    expect(await client.call("Version")).toMatchObject({ version: "0.1.0" });
  });
});
