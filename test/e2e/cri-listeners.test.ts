/** Extra listeners of `trivet cri`: which methods they serve, what they never show, who may connect, and how a reload changes them. */
import { execFile } from "node:child_process";
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ControlStatus, ReloadAnswer } from "../../src/commands/cri/reload-control.ts";
import { createDaemon, type Daemon, socketAnswers } from "../../src/commands/demo/daemon.ts";
import { askAdmin } from "../../src/host/admin-socket.ts";
import { type FakeContainerd, startFakeContainerd } from "../fakes/containerd/server.ts";
import { type CriClient, connectCri } from "../fakes/kubelet/cri-client.ts";

const PERMISSION_DENIED = 7;
const UNIMPLEMENTED = 12;
const SECRET = "a-secret-of-the-configuration";
const NOBODY = 65_534;
const GROUP = 12;

const run = promisify(execFile);

let directory: string;
let containerd: FakeContainerd;
let proxy: Daemon;
let main: CriClient;
let agent: CriClient;
let containerId: string;

const at = (name: string) => join(directory, name);
const status = async () => (await askAdmin(at("cri.ctl"), "status", null)) as ControlStatus;

const readOnly = () => `
    - name: agents
      listen: unix://${at("agents/read-only.sock")}
      methods: [read-only]
      mode: "0660"
      group: ${GROUP}`;
const stats = () => `
    - name: stats
      listen: unix://${at("stats.sock")}
      methods: [Version, ImageFsInfo]
      uids: [${NOBODY}]
      mode: "0666"`;

const writeConfig = (listeners: string) =>
  writeFile(
    at("config.yaml"),
    `cri:
  listen: unix://${at("cri.sock")}
  upstream: unix://${containerd.path}
  callLog: ${at("calls.jsonl")}
  callLogLevels: [status=all, poll=all]
  listeners:${listeners || " []"}
`,
  );

/** The answer to a method that the client's API may not have. */
function callRaw(path: string, method: string): Promise<{ code: number; details: string }> {
  const client = new Client(`unix:${path}`, credentials.createInsecure());
  const same = (bytes: Buffer) => bytes;
  return new Promise((resolve) => {
    const done = (error: ServiceError | null) => {
      client.close();
      resolve({ code: error?.code ?? 0, details: error?.details ?? "" });
    };
    client.makeUnaryRequest(`/runtime.v1.RuntimeService/${method}`, same, same, Buffer.alloc(0), done);
  });
}

const PREFACE = "505249202a20485454502f322e300d0a0d0a534d0d0a0d0a000000040000000000";

/** Opens a connection as another user: whether HTTP/2 is answered, the connection is closed, or not even made. */
async function connectAs(uid: number, path: string): Promise<string> {
  const script = `
    const user = ${uid};
    process.setgroups([]);
    process.setgid(user);
    process.setuid(user);
    const socket = require("node:net").connect(${JSON.stringify(path)});
    const say = (text) => { console.log(text); process.exit(0); };
    socket.on("connect", () => socket.write(Buffer.from("${PREFACE}", "hex")));
    socket.on("data", () => say("answered"));
    socket.on("close", () => say("closed"));
    socket.on("error", (error) => say(error.code));`;
  // Started as root, since only root may get to this Node.js; it is another user before it connects.
  const { stdout } = await run(process.execPath, ["-e", script]);
  return stdout.trim();
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-listen-"));
  await chmod(directory, 0o711);
  containerd = await startFakeContainerd({
    path: at("containerd.sock"),
    runtimeVersion: "2.1.0",
    images: ["docker.io/library/busybox:1"],
  });
  const direct = connectCri({ path: containerd.path });
  const metadata = { name: "pod", namespace: "default", uid: "uid", attempt: 0 };
  const { pod_sandbox_id } = await direct.call("RunPodSandbox", { config: { metadata } });
  const config = {
    metadata: { name: "main", attempt: 0 },
    image: { image: "docker.io/library/busybox:1" },
    // Runtimes answer with the whole configuration: here it is readable in the arguments.
    envs: [{ key: "TOKEN", value: Buffer.from(SECRET) }],
    args: [SECRET],
  };
  ({ container_id: containerId } = await direct.call("CreateContainer", {
    pod_sandbox_id,
    config,
    sandbox_config: { metadata },
  }));
  direct.close();
  await writeConfig(readOnly());
  proxy = createDaemon({
    args: ["cri", "--config", at("config.yaml")],
    logFile: at("cri.log"),
    // Each socket is served a moment before or after the others.
    ready: async () => {
      const sockets = ["cri.sock", "agents/read-only.sock", "cri.ctl"].map((name) =>
        socketAnswers(at(name))(),
      );
      return (await Promise.all(sockets)).every(Boolean);
    },
  });
  await proxy.start();
  main = connectCri({ path: at("cri.sock") });
  agent = connectCri({ path: at("agents/read-only.sock") });
});
afterAll(async () => {
  main?.close();
  agent?.close();
  const last = await status().catch(() => undefined);
  if (last) process.kill(last.pid, "SIGKILL");
  await proxy?.kill();
  await containerd?.stop();
  await rm(directory, { recursive: true, force: true });
});

describe("a read-only listener", () => {
  it("answers what only shows as the main socket does", async () => {
    for (const method of ["Version", "ListContainers", "ListPodSandbox", "ListImages"]) {
      expect(await agent.call(method), method).toEqual(await main.call(method));
    }
  });

  it.each([
    ["RunPodSandbox", {}],
    ["CreateContainer", {}],
    ["StopContainer", { container_id: "x" }],
    ["ExecSync", { container_id: "x", cmd: ["id"] }],
    ["Exec", { container_id: "x", cmd: ["id"] }],
    ["PullImage", { image: { image: "busybox" }, auth: { username: "u", password: "p" } }],
    ["RemoveImage", { image: { image: "busybox" } }],
    ["UpdateRuntimeConfig", {}],
    ["GetContainerEvents", {}],
  ])("denies %s, which never gets to the runtime, and stays usable", async (method, request) => {
    const asked = containerd.requests.of(method).length;
    await expect(agent.call(method, request)).rejects.toMatchObject({
      code: PERMISSION_DENIED,
      details: expect.stringContaining('is not among the methods of the listener "agents"'),
    });
    expect(containerd.requests.of(method)).toHaveLength(asked);
    expect(await agent.call("Version")).toMatchObject({ version: "0.1.0" });
  });

  it("denies what nobody knows, where the main socket lets the runtime answer", async () => {
    expect(await callRaw(at("agents/read-only.sock"), "NewThing")).toMatchObject({ code: PERMISSION_DENIED });
    expect(await callRaw(at("cri.sock"), "NewThing")).toMatchObject({ code: UNIMPLEMENTED });
  });

  it("answers verbose questions as if they were not, since the answers hold the environment", async () => {
    const request = { container_id: containerId, verbose: true };
    expect(JSON.stringify(await main.call("ContainerStatus", request))).toContain(SECRET);
    const answer = await agent.call("ContainerStatus", request);
    expect(JSON.stringify(answer)).not.toContain(SECRET);
    expect(answer).toEqual(await main.call("ContainerStatus", { container_id: containerId }));
    expect(containerd.requests.of("ContainerStatus").map(({ request: seen }) => seen)).toMatchObject([
      { verbose: true },
      { verbose: false },
      { verbose: false },
    ]);
    for (const method of ["Status", "ImageStatus"]) await agent.call(method, { verbose: true });
    expect(containerd.requests.of("Status").at(-1)?.request).toMatchObject({ verbose: false });
    expect(containerd.requests.of("ImageStatus").at(-1)?.request).toMatchObject({ verbose: false });
  });

  it("is for the group that the settings name, in a directory that others may enter", async () => {
    const { mode, gid, uid } = await stat(at("agents/read-only.sock"));
    expect([mode & 0o777, uid, gid]).toEqual([0o660, 0, GROUP]);
    expect((await stat(at("agents"))).mode & 0o777).toBe(0o755);
    expect((await stat(at("cri.sock"))).mode & 0o777).toBe(0o600);
  });

  it("has its calls in the record, under its name, the denied ones too", async () => {
    const records = async () =>
      (await readFile(at("calls.jsonl"), "utf8"))
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    await expect
      .poll(records, { timeout: 10_000 })
      .toEqual(
        expect.arrayContaining([
          expect.objectContaining({ method: "PullImage", status: "PERMISSION_DENIED", listener: "agents" }),
          expect.objectContaining({ method: "ListContainers", status: "OK", listener: "agents" }),
        ]),
      );
    expect(await readFile(at("calls.jsonl"), "utf8")).not.toContain(SECRET);
  });
});

describe("the listeners after a reload", () => {
  const reload = async () => (await askAdmin(at("cri.ctl"), "reload", null)) as ReloadAnswer;
  const hasNativeCode = async (pid: number) =>
    (await readFile(`/proc/${pid}/maps`, "utf8")).includes("koffi");

  it("are those of the settings by then: one more, with users, for whom native code is loaded", async () => {
    expect(await hasNativeCode((await status()).pid)).toBe(false);
    await writeConfig(`${readOnly().replace('"0660"', '"0640"')}${stats()}`);
    const { to } = await reload();
    expect((await status()).listeners.map(({ name }) => name)).toEqual(["cri", "agents", "stats"]);
    expect((await stat(at("agents/read-only.sock"))).mode & 0o777).toBe(0o640);
    expect(await agent.call("Version")).toMatchObject({ version: "0.1.0" });
    expect(await hasNativeCode(to.pid)).toBe(true);
  });

  it("keep their sockets as they were where the settings say the same: no user is turned away meanwhile", async () => {
    const before = await stat(at("agents/read-only.sock"), { bigint: true });
    await reload();
    expect((await stat(at("agents/read-only.sock"), { bigint: true })).ctimeNs).toBe(before.ctimeNs);
  });

  it("may have another name at the same path, and lose the group that the settings name no more", async () => {
    const renamed = readOnly()
      .replace("agents\n", "watchers\n")
      .replace(/\n\s+group: \d+/, "");
    await writeConfig(`${renamed.replace('"0660"', '"0640"')}${stats()}`);
    await reload();
    expect((await status()).listeners.map(({ name }) => name)).toEqual(["cri", "watchers", "stats"]);
    expect(await stat(at("agents/read-only.sock"))).toMatchObject({ gid: 0 });
    await expect
      .poll(() => agent.call("Version").catch(() => null), { timeout: 10_000 })
      .toMatchObject({ version: "0.1.0" });
    await expect(agent.call("RemoveImage")).rejects.toMatchObject({
      details: expect.stringContaining('the listener "watchers"'),
    });
  });

  it("let named users through and close the connections of others at once, root's too, with a line in the log", async () => {
    expect(await connectAs(NOBODY, at("stats.sock"))).toBe("answered");
    for (const uid of [0, 1234])
      expect(await connectAs(uid, at("stats.sock"))).toMatch(/^(closed|EPIPE|ECONNRESET)$/);
    expect(await connectAs(NOBODY, at("cri.sock"))).toBe("EACCES");
    const refusals = (await readFile(at("cri.log"), "utf8"))
      .split("\n")
      .filter((line) => line.includes("refused"));
    expect(refusals.map((line) => JSON.parse(line) as object)).toMatchObject([
      { listener: "stats", user: "0" },
      { listener: "stats", user: "1234" },
    ]);
  });

  it("are gone with their sockets when the settings have them no more", async () => {
    await writeConfig("");
    await reload();
    expect((await status()).listeners.map(({ name }) => name)).toEqual(["cri"]);
    await expect.poll(() => readdir(at("agents")), { timeout: 10_000 }).toEqual([]);
    // Nobody has the socket open: whoever connected to it before that is told, and does not wait.
    const open = async () => (await readFile("/proc/net/unix", "utf8")).split("\n");
    await expect.poll(async () => (await open()).filter((line) => line.includes(at("agents/")))).toEqual([]);
    expect(await socketAnswers(at("stats.sock"))()).toBe(false);
    expect(await main.call("Version")).toMatchObject({ version: "0.1.0" });
  });
});
