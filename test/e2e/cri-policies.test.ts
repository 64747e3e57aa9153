/** Policies in the process of `trivet cri`: in force from the start, reloaded when files change, told in the call log. */
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { createDaemon, type Daemon, socketAnswers } from "../../src/commands/demo/daemon.ts";
import { type FakeContainerd, startFakeContainerd } from "../fakes/containerd/server.ts";
import { type CriClient, connectCri } from "../fakes/kubelet/cri-client.ts";

const PERMISSION_DENIED = 7;
const UNAVAILABLE = 14;

let directory: string;
let containerd: FakeContainerd;
let proxy: Daemon;
let cri: CriClient;

const at = (name: string) => join(directory, name);
const policy = (name: string, spec: string) =>
  `{ apiVersion: trivet.dev/v1alpha1, kind: RuntimePolicy, metadata: { name: ${name} }, spec: ${spec} }`;

/** As an editor does: written beside, and renamed. */
async function put(file: string, text: string): Promise<void> {
  await writeFile(at("new"), text);
  await rename(at("new"), at(`policies/${file}`));
}

const log = async () => readFile(at("cri.log"), "utf8");
const records = async () =>
  (await readFile(at("calls.jsonl"), "utf8"))
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
const reloads = async () => (await log()).split('"policies reloaded"').length - 1;

/** Puts a set of files in force, and waits until it is. */
async function enforce(files: Readonly<Record<string, string>>): Promise<void> {
  const before = await reloads();
  for (const [file, text] of Object.entries(files)) await put(file, text);
  await vi.waitFor(async () => expect(await reloads()).toBeGreaterThan(before), { timeout: 10_000 });
}

const flags = () => [
  "--listen",
  `unix://${at("cri.sock")}`,
  "--upstream",
  `unix://${containerd.path}`,
  "--policy-dir",
  at("policies"),
  "--policy-cache",
  at("kept.json"),
  "--call-log",
  at("calls.jsonl"),
];

const daemon = (args: readonly string[] = []) =>
  createDaemon({
    args: ["cri", ...flags(), ...args],
    logFile: at("cri.log"),
    ready: socketAnswers(at("cri.sock")),
  });

const labelZone = (zone: string) =>
  policy(
    "zone",
    `{ methods: [RunPodSandbox], mutations: [{ op: add, path: config.labels, values: { example.org/zone: ${zone} } }] }`,
  );
const noExec = policy(
  "no-exec",
  '{ methods: [Exec, ExecSync], namespaces: [payments], validations: [{ expression: "false", message: nobody enters }] }',
);

let pods = 0;

async function startPod(namespace: string) {
  pods += 1;
  const metadata = { name: `pod-${pods}`, namespace, uid: `uid-${pods}`, attempt: 0 };
  const { pod_sandbox_id } = await cri.call("RunPodSandbox", { config: { metadata } });
  const create = async (name: string) => {
    const { container_id } = await cri.call("CreateContainer", {
      pod_sandbox_id,
      config: { metadata: { name, attempt: 0 }, image: { image: "docker.io/library/busybox:1" } },
      sandbox_config: { metadata },
    });
    await cri.call("StartContainer", { container_id });
    return container_id;
  };
  return { pod_sandbox_id, create };
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-policies-"));
  await mkdir(at("policies"));
  containerd = await startFakeContainerd({
    path: at("containerd.sock"),
    images: ["docker.io/library/busybox:1"],
    run: ({ signal }) => once(signal, "abort").then(() => ({ exitCode: 0 })),
  });
  await put("10-zone.yaml", labelZone("a"));
  proxy = daemon();
  await proxy.start();
  cri = connectCri({ path: at("cri.sock") });
});
afterEach(() => vi.restoreAllMocks());
afterAll(async () => {
  cri?.close();
  await proxy?.stop();
  await containerd?.stop();
  await rm(directory, { recursive: true, force: true });
});

const lastRequest = (method: string) =>
  containerd.requests.of(method).at(-1)?.request as Record<string, never>;

describe("policies in the proxy's process", () => {
  it("change a sandbox and the copy of its configuration alike, also after they were changed themselves", async () => {
    const { create } = await startPod("web");
    expect(lastRequest("RunPodSandbox")).toMatchObject({ config: { labels: { "example.org/zone": "a" } } });
    await enforce({ "10-zone.yaml": labelZone("b") });
    await create("late");
    expect(lastRequest("CreateContainer")).toMatchObject({
      sandbox_config: { labels: { "example.org/zone": "a" } },
    });
    await startPod("web");
    expect(lastRequest("RunPodSandbox")).toMatchObject({ config: { labels: { "example.org/zone": "b" } } });
  });

  it("refuse to enter containers of a namespace, by the container's id alone", async () => {
    const [inside, outside] = [await startPod("payments"), await startPod("web")];
    const [closed, open] = [await inside.create("main"), await outside.create("main")];
    await enforce({ "20-exec.yaml": noExec });
    for (const [method, request] of [
      ["Exec", { container_id: closed, cmd: ["sh"], stdout: true }],
      ["ExecSync", { container_id: closed, cmd: ["sh"] }],
    ] as const) {
      await expect(cri.call(method, request)).rejects.toMatchObject({
        code: PERMISSION_DENIED,
        details: "denied by policy no-exec: nobody enters",
      });
    }
    await cri.call("ExecSync", { container_id: open, cmd: ["sh"] });
    expect(containerd.requests.of("ExecSync")).toHaveLength(1);
    await vi.waitFor(async () =>
      expect(await records()).toContainEqual(
        expect.objectContaining({
          method: "Exec",
          namespace: "payments",
          container: "main",
          status: "PERMISSION_DENIED",
          denied: { policy: "no-exec", message: "nobody enters" },
        }),
      ),
    );
  });

  it("ask the runtime who a container is that was there before the proxy, and fail closed while it is away", async () => {
    const { create } = await startPod("payments");
    const id = await create("old");
    await proxy.stop();
    proxy = daemon();
    await proxy.start();
    cri.close();
    cri = connectCri({ path: at("cri.sock") });
    const exec = { container_id: id, cmd: ["sh"] };
    const restore = containerd.inject("ListContainers", { error: { code: UNAVAILABLE, message: "away" } });
    await expect(cri.call("ExecSync", exec)).rejects.toMatchObject({
      code: PERMISSION_DENIED,
      details: expect.stringMatching(/^denied by policy no-exec: it could not be evaluated: /),
    });
    restore();
    await expect(cri.call("ExecSync", exec)).rejects.toMatchObject({
      details: "denied by policy no-exec: nobody enters",
    });
  });

  it("stay as they were for a bad file, and are what was kept after a start with it", async () => {
    await put("30-bad.yaml", "kind: RuntimePolicy");
    await vi.waitFor(async () => expect(await log()).toContain("the last good policies stay in force"), {
      timeout: 10_000,
    });
    await startPod("web");
    expect(lastRequest("RunPodSandbox")).toMatchObject({ config: { labels: { "example.org/zone": "b" } } });
    await proxy.stop();
    proxy = daemon(["--unknown-methods", "deny"]);
    await proxy.start();
    cri.close();
    cri = connectCri({ path: at("cri.sock") });
    expect(await log()).toContain("starting with the last policies that were good");
    await startPod("web");
    expect(lastRequest("RunPodSandbox")).toMatchObject({ config: { labels: { "example.org/zone": "b" } } });
    const before = await reloads();
    await rm(at("policies/30-bad.yaml"));
    await vi.waitFor(async () => expect(await reloads()).toBeGreaterThan(before), { timeout: 10_000 });
  });
});
