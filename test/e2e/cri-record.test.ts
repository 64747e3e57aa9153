/** The record of calls on a real containerd: who they are about, what they cost, and that no secret is in it. */
import { execFile, spawn } from "node:child_process";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createDaemon, type Daemon, socketAnswers } from "../../src/commands/demo/daemon.ts";
import { createPaths, type DemoPaths } from "../../src/commands/demo/files.ts";
import { createPodIndex } from "../../src/cri/pods/pod-index.ts";
import { createRuntimeClient } from "../../src/cri/pods/runtime-client.ts";
import type { CallRecord } from "../../src/cri/record/call-record.ts";
import { packageRoot } from "../../src/host/package-root.ts";
import { type CriClient, connectCri } from "../fakes/kubelet/cri-client.ts";
import { type RunningPod, startPod, stopPod } from "../fakes/kubelet/pod.ts";
import { type PrivateContainerd, startContainerd } from "./support/containerd.ts";

const run = promisify(execFile);
const secret = "hunter2-in-plain-sight";

let paths: DemoPaths;
let containerd: PrivateContainerd;
let proxy: Daemon;
let cri: CriClient;
let pod: RunningPod;

const metricsPort = 19_000 + (process.pid % 1_000);

async function trivet(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  return run(join(packageRoot, "bin/trivet"), args);
}

async function records(): Promise<CallRecord[]> {
  const names = (await readdir(paths.logs)).filter((name) => name.startsWith("calls.jsonl"));
  const texts = await Promise.all(names.map((name) => readFile(join(paths.logs, name), "utf8")));
  return texts.flatMap((text) => text.split("\n")).flatMap((line) => (line ? [JSON.parse(line)] : []));
}

/** The records of a method, once there are any: they are written behind the calls. */
async function recordsOf(method: string): Promise<CallRecord[]> {
  const found = async () => (await records()).filter((record) => record.method === method);
  await expect.poll(found, { timeout: 5_000 }).not.toEqual([]);
  return found();
}

beforeAll(async () => {
  paths = await createPaths();
  containerd = await startContainerd({
    ...{ root: paths.runtime, cniBinDir: paths.cniBin, cniConfDir: paths.cniConf },
  });
  proxy = createDaemon({
    args: [
      "cri",
      ...["--listen", `unix://${paths.criSocket}`, "--upstream", `unix://${containerd.socket}`],
      ...["--call-log", paths.callLog, "--call-log-level", "status=all", "--call-log-level", "poll=1:10"],
      ...["--metrics-address", `127.0.0.1:${metricsPort}`, "--log-level", "debug"],
    ],
    logFile: join(paths.logs, "cri.log"),
    ready: socketAnswers(paths.criSocket),
  });
  await proxy.start();
  cri = connectCri({ path: paths.criSocket });
  const deps = { cri, kubeletRoot: paths.kubelet, logRoot: paths.podLogs };
  pod = await startPod(deps, {
    ...{ name: "web-0", namespace: "shop", uid: "uid-web-0", hostNetwork: true },
    annotations: { "example.org/api-token": secret, "kubernetes.io/config.mirror": "x" },
    containers: [
      {
        ...{ name: "main", image: containerd.image, command: ["sleep", "1000"], args: [] },
        env: { PASSWORD: secret },
      },
    ],
  });
});
afterAll(async () => {
  if (pod) await stopPod(pod, 0).catch(() => undefined);
  cri?.close();
  await proxy?.stop();
  await containerd?.stop();
  if (paths) await rm(paths.root, { recursive: true, force: true });
});

describe("the record on a real containerd", () => {
  it("names pod, container and image of calls that carry an id alone", async () => {
    const id = pod.containers.main ?? "";
    await cri.call("ExecSync", { container_id: id, cmd: ["true"], timeout: "10" });
    const [started] = await recordsOf("StartContainer");
    const about = { namespace: "shop", pod: "web-0", podUid: "uid-web-0", sandboxId: pod.sandboxId };
    const container = { container: "main", containerId: id, image: containerd.image };
    expect(started).toMatchObject({ ...about, ...container, status: "OK" });
    expect(started?.runtimeMs).toBeGreaterThan(0);
    expect(started?.oursMs).toBeGreaterThanOrEqual(0);
    expect((await recordsOf("ExecSync"))[0]).toMatchObject({ ...about, ...container });
  });

  it("keeps one poll in ten, and each that fails", async () => {
    const before = (await records()).filter(({ method }) => method === "ListContainers").length;
    for (let call = 0; call < 40; call += 1) await cri.call("ListContainers");
    await cri.call("ContainerStatus", { container_id: "nobody" }).catch(() => undefined);
    await expect
      .poll(async () => (await records()).filter(({ method }) => method === "ListContainers").length)
      .toBe(before + 4);
    const failed = (await recordsOf("ContainerStatus")).filter(({ status }) => status === "NOT_FOUND");
    expect(failed).toMatchObject([{ containerId: "nobody" }]);
  });

  it("finds out about ids of before its start from the lists that pass", async () => {
    await proxy.kill();
    await proxy.start();
    const id = pod.containers.main ?? "";
    const status = () => cri.call("ContainerStatus", { container_id: id });
    await expect.poll(() => status().catch(() => null), { timeout: 20_000 }).not.toBeNull();
    await cri.call("ListContainers");
    await status();
    await cri.call("ListPodSandbox");
    await status();
    await expect
      .poll(async () => (await recordsOf("ContainerStatus")).at(-1), { timeout: 5_000 })
      .toMatchObject({ namespace: "shop", pod: "web-0", container: "main" });
  });

  it("is shown as it comes on stdin, where nobody can tell its end", async () => {
    const looking = spawn(join(packageRoot, "bin/trivet"), ["cri", "calls", "--file", "-", "--follow"]);
    let shown = "";
    looking.stdout.on("data", (chunk) => {
      shown += chunk;
    });
    looking.stdin.write(`${JSON.stringify((await recordsOf("StartContainer"))[0])}\n`);
    await expect.poll(() => shown, { timeout: 10_000 }).toContain("StartContainer");
    looking.kill();
  });

  it("holds no secret, nor does anything else that the proxy says", async () => {
    const id = pod.containers.main ?? "";
    const verbose = await cri.call("ContainerStatus", { container_id: id, verbose: true });
    // It is what makes verbose answers dangerous: containerd tells the whole environment.
    expect(JSON.stringify(verbose)).toContain(secret);
    await cri.call("ExecSync", { container_id: id, cmd: ["sh", "-c", `echo ${secret}`], timeout: "10" });
    await cri.call("Exec", { container_id: id, cmd: [secret], stdout: true }).catch(() => undefined);
    const auth = { username: secret, password: secret, registry_token: secret };
    await cri.call("PullImage", { image: { image: "127.0.0.1:1/none/none:1" }, auth }).catch(() => undefined);
    await recordsOf("PullImage");
    const file = ["--file", paths.callLog];
    const scrape = await fetch(`http://127.0.0.1:${metricsPort}/metrics`);
    const outputs: Record<string, string> = {
      "call log": JSON.stringify(await records()),
      log: await readFile(join(paths.logs, "cri.log"), "utf8"),
      metrics: await scrape.text(),
      table: (await trivet("cri", "calls", ...file, "-n", "1000")).stdout,
      json: (await trivet("cri", "calls", ...file, "-o", "json")).stdout,
      stats: (await trivet("cri", "stats", ...file)).stdout,
    };
    for (const [name, text] of Object.entries(outputs)) {
      expect(text, name).not.toContain(secret);
      if (name !== "log") expect(text, name).toContain("PullImage");
    }
  });

  it("is shown by pod, and summed up from the log and from the metrics", async () => {
    const file = ["--file", paths.callLog];
    const { stdout } = await trivet(
      "cri",
      "calls",
      ...file,
      "--pod",
      "shop/web-0",
      "--method",
      "RunPodSandbox",
    );
    expect(stdout).toMatch(/^TIME \(UTC\) .*\n\S+ \S+ +RunPodSandbox +shop\/web-0 +\S+ +OK +\S+ms +\S+/);
    const stats = JSON.parse((await trivet("cri", "stats", ...file, "-o", "json")).stdout);
    expect(stats).toContainEqual(expect.objectContaining({ method: "RunPodSandbox", count: 1, errors: 0 }));
    const live = await trivet(
      ...["cri", "stats", "--live", "--metrics-address", `127.0.0.1:${metricsPort}`, "-o", "json"],
    );
    expect(JSON.parse(live.stdout)).toContainEqual(
      expect.objectContaining({ method: "PullImage", errors: 1 }),
    );
  });
});

describe("the index of pods on a real containerd", () => {
  it("asks for a container by its id, or by the beginning of it, and for none that is not there", async () => {
    const runtime = createRuntimeClient({ path: containerd.socket });
    const id = pod.containers.main ?? "";
    const expected = {
      ...{ containerId: id, name: "main" },
      pod: { sandboxId: pod.sandboxId, namespace: "shop", name: "web-0", uid: "uid-web-0", isStatic: false },
    };
    const ask = { ask: runtime.ask };
    expect(await createPodIndex(ask).lookup("container", id)).toMatchObject(expected);
    expect(await createPodIndex(ask).lookup("container", id.slice(0, 12))).toMatchObject(expected);
    const found = await createPodIndex(ask).lookup("sandbox", pod.sandboxId);
    expect(found?.annotations.get("example.org/api-token")).toBe(secret);
    expect(await createPodIndex(ask).lookup("container", "0".repeat(64))).toBeUndefined();
    expect(await createPodIndex(ask).lookup("sandbox", "0".repeat(64))).toBeUndefined();
    runtime.close();
  });
});
