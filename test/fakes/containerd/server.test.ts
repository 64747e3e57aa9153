import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type CriClient, connectCri } from "../kubelet/cri-client.ts";
import { serviceOf } from "./apis.ts";
import { formatLog, parseLog } from "./log-file.ts";
import { runUntilStopped } from "./runtime.ts";
import {
  type FakeContainerd,
  type FakeContainerdOptions,
  startFakeContainerd,
  unknownToContainerd16,
} from "./server.ts";
import { status } from "./status.ts";

const image = "trivet.local/busybox:1";

let directory: string;
let containerd: FakeContainerd;
let cri: CriClient;

async function start(options: Partial<FakeContainerdOptions> = {}): Promise<void> {
  containerd = await startFakeContainerd({ path: join(directory, "c.sock"), images: [image], ...options });
  cri = connectCri({ path: containerd.path });
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-fake-"));
});

afterEach(async () => {
  cri.close();
  await containerd.stop();
  await rm(directory, { recursive: true });
});

const sandboxConfig = (name: string, more: object = {}) => ({
  metadata: { name, namespace: "n", uid: name },
  log_directory: directory,
  ...more,
});

async function runContainer(name: string): Promise<{ sandbox: string; container_id: string }> {
  const sandbox_config = sandboxConfig(name);
  const { pod_sandbox_id } = await cri.call("RunPodSandbox", { config: sandbox_config });
  const config = { metadata: { name: "main" }, image: { image }, log_path: `${name}.log` };
  const { container_id } = await cri.call("CreateContainer", { pod_sandbox_id, config, sandbox_config });
  await cri.call("StartContainer", { container_id });
  return { sandbox: pod_sandbox_id, container_id };
}

async function collect(stream: AsyncIterable<unknown>): Promise<unknown[]> {
  const all: unknown[] = [];
  for await (const message of stream) all.push(message);
  return all;
}

describe("what arrived", () => {
  it("is kept as bytes and decoded, with metadata and the answered code", async () => {
    await start();
    const request = { container_id: "none", verbose: true };
    await cri.call("ContainerStatus", request, { metadata: { traceparent: "00-1" } }).catch(() => undefined);
    const call = containerd.requests.last("ContainerStatus");
    const stub = serviceOf("runtime", "RuntimeService").service.ContainerStatus;
    expect(call.raw).toEqual(stub?.requestSerialize(request));
    expect(call).toMatchObject({
      service: "RuntimeService",
      request,
      code: status.NOT_FOUND,
      cancelled: false,
    });
    expect(call.metadata.traceparent).toEqual(["00-1"]);
    containerd.requests.clear();
    expect(() => containerd.requests.last("ContainerStatus")).toThrow("has seen no ContainerStatus");
  });

  it("keeps the newest calls only", async () => {
    await start({ recordLimit: 3 });
    for (let index = 0; index < 20; index += 1) {
      await cri.call("ImageStatus", { image: { image: `i${index}` } });
    }
    expect(containerd.requests.all.length).toBeLessThanOrEqual(6);
    expect(containerd.requests.last("ImageStatus").request).toMatchObject({ image: { image: "i19" } });
  });
});

describe("injected faults", () => {
  it("delay, fail before the work, fail after it, and end after so many calls", async () => {
    await start();
    const undo = containerd.inject("Version", { delayMs: 50 });
    const began = performance.now();
    await cri.call("Version");
    expect(performance.now() - began).toBeGreaterThanOrEqual(49);
    undo();

    const error = { code: status.UNAVAILABLE, message: "lost" };
    containerd.inject("RunPodSandbox", { times: 1, error });
    await expect(cri.call("RunPodSandbox", { config: sandboxConfig("a") })).rejects.toMatchObject({
      code: 14,
    });
    expect(containerd.state.sandboxes.size).toBe(0);
    containerd.inject("RunPodSandbox", { times: 1, error, when: "after" });
    await expect(cri.call("RunPodSandbox", { config: sandboxConfig("a") })).rejects.toMatchObject({
      code: 14,
    });
    expect(containerd.state.sandboxes.size).toBe(1);
    await cri.call("RunPodSandbox", { config: sandboxConfig("b") });
  });

  it("hit the chosen calls only, and a call that its client cancels is seen as such", async () => {
    await start();
    const matches = (request: object) => (request as { container_id: string }).container_id === "slow";
    containerd.inject("ContainerStatus", { delayMs: 60_000, matches });
    await expect(cri.call("ContainerStatus", { container_id: "x" })).rejects.toMatchObject({ code: 5 });
    const slow = cri.call("ContainerStatus", { container_id: "slow" }, { timeoutMs: 50 });
    await expect(slow).rejects.toMatchObject({ code: status.DEADLINE_EXCEEDED });
    await expect.poll(() => containerd.requests.last("ContainerStatus").cancelled).toBe(true);
  });
});

describe("the network", () => {
  it("a failed ADD fails the sandbox, is undone, and leaves the name free", async () => {
    const asked: string[] = [];
    await start({
      cni: {
        add: async () => {
          asked.push("add");
          throw new Error("no free address");
        },
        del: async () => void asked.push("del"),
      },
    });
    await expect(cri.call("RunPodSandbox", { config: sandboxConfig("a") })).rejects.toMatchObject({
      code: status.UNKNOWN,
      details: expect.stringMatching(/^failed to setup network for sandbox "[0-9a-f]{64}": no free address$/),
    });
    expect(asked).toEqual(["add", "del"]);
    expect(containerd.state.names.size).toBe(0);
  });

  it("a failed DEL fails the stop until it succeeds; after that it is not called again", async () => {
    let failures = 1;
    const asked: string[] = [];
    await start({
      cni: {
        add: async () => ({ ips: ["10.0.0.2"] }),
        del: async ({ id }) => {
          asked.push(id);
          failures -= 1;
          if (failures >= 0) throw new Error("device is busy");
        },
      },
    });
    const { pod_sandbox_id } = await cri.call("RunPodSandbox", { config: sandboxConfig("a") });
    await expect(cri.call("StopPodSandbox", { pod_sandbox_id })).rejects.toMatchObject({
      details: `failed to destroy network for sandbox "${pod_sandbox_id}": device is busy`,
    });
    await cri.call("StopPodSandbox", { pod_sandbox_id });
    await cri.call("RemovePodSandbox", { pod_sandbox_id });
    expect(asked).toEqual([pod_sandbox_id, pod_sandbox_id]);
  });

  it("a sandbox on the host's network has none, and one that is stopped has no address any more", async () => {
    await start({
      cni: { add: async () => ({ ips: ["10.0.0.2", "fd00::2"] }), del: async () => undefined },
    });
    const linux = { security_context: { namespace_options: { network: "NODE" } } };
    const host = await cri.call("RunPodSandbox", { config: sandboxConfig("host", { linux }) });
    expect((await cri.call("PodSandboxStatus", host)).status.network).toMatchObject({ ip: "" });
    const pod = await cri.call("RunPodSandbox", { config: sandboxConfig("pod") });
    expect((await cri.call("PodSandboxStatus", pod)).status.network).toEqual({
      ip: "10.0.0.2",
      additional_ips: [{ ip: "fd00::2" }],
    });
    await cri.call("StopPodSandbox", pod);
    expect((await cri.call("PodSandboxStatus", pod)).status).toMatchObject({
      state: "SANDBOX_NOTREADY",
      network: { ip: "" },
    });
  });
});

describe("containers", () => {
  it("end by themselves, by SIGTERM within the grace period, or by SIGKILL after it", async () => {
    await start({
      run: (container) =>
        container.sandbox.config.metadata?.name === "deaf"
          ? new Promise(() => undefined)
          : runUntilStopped(container),
    });
    const polite = await runContainer("polite");
    const deaf = await runContainer("deaf");
    const stop = (id: string) => cri.call("StopContainer", { container_id: id, timeout: "1" });
    await Promise.all([stop(polite.container_id), stop(deaf.container_id)]);
    expect((await cri.call("ContainerStatus", polite)).status.exit_code).toBe(143);
    expect((await cri.call("ContainerStatus", deaf)).status.exit_code).toBe(137);
  });

  it("write their log while they run, and reach nothing if nobody made its directory", async () => {
    await start({
      run: async (container) => {
        await container.write("out\n");
        await container.write("err\n", "stderr");
        return runUntilStopped(container);
      },
    });
    await runContainer("talks");
    const log = () => readFile(join(directory, "talks.log"), "utf8").catch(() => "");
    await expect.poll(async () => parseLog(await log()).length).toBe(2);
    expect(parseLog(await log())).toMatchObject([
      { stream: "stdout", text: "out" },
      { stream: "stderr", text: "err" },
    ]);
    await expect(runContainer("no/where")).rejects.toThrow("failed to create container loggers");
  });

  it("answer ExecSync by the callback, within its time-out", async () => {
    await start({
      run: runUntilStopped,
      exec: async (_, [command]) => {
        if (command === "hang") await new Promise(() => undefined);
        return { stdout: "up", exitCode: 4 };
      },
    });
    const { container_id } = await runContainer("exec");
    const answer = await cri.call("ExecSync", { container_id, cmd: ["uptime"] });
    expect(answer).toMatchObject({ stdout: Buffer.from("up"), exit_code: 4 });
    await expect(cri.call("ExecSync", { container_id, cmd: ["hang"], timeout: "1" })).rejects.toMatchObject({
      code: status.DEADLINE_EXCEEDED,
    });
  });
});

describe("streams", () => {
  it("tell what happens from the subscription on, until the client goes", async () => {
    await start();
    const cancel = new AbortController();
    const seen: unknown[] = [];
    const reading = (async () => {
      for await (const event of cri.stream("GetContainerEvents", {}, { signal: cancel.signal })) {
        seen.push((event as { container_event_type: string }).container_event_type);
      }
    })().catch(() => undefined);
    await expect.poll(() => containerd.events.subscribers).toBe(1);
    const { sandbox } = await runContainer("a");
    await expect.poll(() => seen.length).toBe(5);
    await cri.call("RemovePodSandbox", { pod_sandbox_id: sandbox });
    await expect
      .poll(() => seen)
      .toEqual([
        "CONTAINER_CREATED_EVENT",
        "CONTAINER_STARTED_EVENT",
        "CONTAINER_CREATED_EVENT",
        "CONTAINER_STARTED_EVENT",
        "CONTAINER_STOPPED_EVENT",
        "CONTAINER_STOPPED_EVENT",
        "CONTAINER_DELETED_EVENT",
        "CONTAINER_DELETED_EVENT",
      ]);
    cancel.abort();
    await reading;
    await expect.poll(() => containerd.events.subscribers).toBe(0);
  });

  it.each([
    ["StreamPodSandboxes", "pod_sandboxes"],
    ["StreamContainers", "containers"],
    ["StreamContainerStats", "container_stats"],
    ["StreamPodSandboxStats", "pod_sandbox_stats"],
    ["StreamPodSandboxMetrics", "pod_sandbox_metrics"],
    ["StreamImages", "images"],
  ])("%s gives what its list gives", async (method, field) => {
    await start({ run: runUntilStopped });
    await runContainer("a");
    const messages = (await collect(cri.stream(method))) as Record<string, unknown[]>[];
    expect(messages.flatMap((message) => message[field] ?? [])).toHaveLength(1);
  });
});

describe("images and the node", () => {
  it("pulls what the registry has, and keeps one record by every name of an image", async () => {
    await start({ images: [], registry: (name) => name === "docker.io/library/redis:latest" });
    await expect(cri.call("PullImage", { image: { image: "none:1" } })).rejects.toMatchObject({ code: 5 });
    const { image_ref } = await cri.call("PullImage", { image: { image: "redis" } });
    for (const name of ["redis", "redis:latest", "docker.io/library/redis", image_ref]) {
      expect((await cri.call("ImageStatus", { image: { image: name } })).image?.id).toBe(image_ref);
    }
    await cri.call("RemoveImage", { image: { image: image_ref } });
    expect((await cri.call("ListImages")).images).toEqual([]);
  });

  it("says what it is, and whether it is ready", async () => {
    await start({ cgroupDriver: "SYSTEMD" });
    expect(await cri.call("Version")).toMatchObject({ version: "0.1.0", runtime_name: "containerd" });
    expect(await cri.call("RuntimeConfig")).toEqual({ linux: { cgroup_driver: "SYSTEMD" } });
    containerd.conditions.networkReady = false;
    expect((await cri.call("Status")).status?.conditions).toMatchObject([
      { type: "RuntimeReady", status: true },
      { type: "NetworkReady", status: false, reason: "NetworkPluginNotReady" },
    ]);
  });

  it("refuses to send a list of more than 16 MiB", async () => {
    await start();
    const annotations = { note: "x".repeat(6 << 20) };
    for (const name of ["a", "b", "c"]) {
      await cri.call("RunPodSandbox", { config: sandboxConfig(name, { annotations }) });
    }
    await expect(cri.call("ListPodSandbox")).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED });
  });

  it("looks like containerd 1.6 if told to", async () => {
    await start({ unimplemented: unknownToContainerd16 });
    await expect(cri.call("RuntimeConfig")).rejects.toMatchObject({
      code: status.UNIMPLEMENTED,
      details: "unknown method RuntimeConfig for service runtime.v1.RuntimeService",
    });
    await expect(collect(cri.stream("StreamContainers"))).rejects.toMatchObject({
      code: status.UNIMPLEMENTED,
    });
  });

  it("has its state again after a crash, as real shims keep their containers", async () => {
    await start({ run: runUntilStopped });
    const { container_id } = await runContainer("a");
    await containerd.stop({ keepContainers: true });
    await expect(cri.call("Version")).rejects.toMatchObject({ code: status.UNAVAILABLE });
    cri.close();
    await start({ state: containerd.state });
    const found = await cri.call("ContainerStatus", { container_id });
    expect(found.status.state).toBe("CONTAINER_RUNNING");
  });

  it("serves every method of both services", async () => {
    await start();
    const methods = ["RuntimeService", "ImageService"].flatMap((name) =>
      Object.entries(serviceOf("runtime", name).service),
    );
    const missing: string[] = [];
    for (const [method, { responseStream }] of methods) {
      const call = responseStream
        ? collect(cri.stream(method, {}, { timeoutMs: 100 }))
        : cri.call(method, {}, { timeoutMs: 5000 });
      const outcome = await call.catch((error: { code: number; details: string }) => error);
      if (/^unknown method/.test((outcome as { details?: string }).details ?? "")) missing.push(method);
    }
    expect(methods.length).toBe(41);
    expect(missing).toEqual([]);
  });
});

describe("the log format", () => {
  it("cuts long lines into pieces, and marks what has no newline as a piece", () => {
    const at = new Date("2026-01-02T03:04:05.678Z");
    expect(formatLog("a\n\nb", "stderr", at).toString()).toBe(
      [
        "2026-01-02T03:04:05.678000000Z stderr F a",
        "2026-01-02T03:04:05.678000000Z stderr F ",
        "2026-01-02T03:04:05.678000000Z stderr P b",
        "",
      ].join("\n"),
    );
    const long = "x".repeat(40_000);
    const lines = formatLog(`${long}\n`, "stdout", at).toString();
    expect(lines.split("\n").map((line) => line.split(" ")[2])).toEqual(["P", "P", "F", undefined]);
    expect(parseLog(lines)).toEqual([
      { time: "2026-01-02T03:04:05.678000000Z", stream: "stdout", text: long },
    ]);
  });
});
