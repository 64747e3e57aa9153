/** The proxy in front of a real containerd: what holds on a direct connection holds through it. */
import { readdir, readFile, rm } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Daemon } from "../../src/commands/demo/daemon.ts";
import { createPaths, type DemoPaths } from "../../src/commands/demo/files.ts";
import { createCri } from "../../src/commands/demo/processes.ts";
import { createStage } from "../../src/commands/demo/real-stage.ts";
import type { Stage } from "../../src/commands/demo/stage.ts";
import { playRule, rules } from "../fakes/containerd/rules.ts";
import { type CriClient, connectCri } from "../fakes/kubelet/cri-client.ts";
import { startPod, stopPod } from "../fakes/kubelet/pod.ts";
import { connectRawCri } from "../fakes/kubelet/raw-cri-client.ts";
import { createStepRecorder } from "../fakes/kubelet/timing.ts";
import { type PrivateContainerd, startContainerd } from "./support/containerd.ts";

const UNAVAILABLE = 14;

describe("through the proxy, with Trivet's own pod network,", () => {
  let stage: Stage;
  let direct: CriClient;

  beforeAll(async () => {
    stage = await createStage(await createPaths());
    await stage.start(createStepRecorder());
    direct = connectCri({ path: `${stage.paths.runtime}/containerd.sock` });
  });
  afterAll(async () => {
    direct?.close();
    await stage.stop();
    await rm(stage.paths.root, { recursive: true, force: true });
  });

  /** Each form of `:authority` that kubelets have sent: 1.31 and newer, 1.29 and 1.30, up to 1.28. */
  const authorities: [string, () => Promise<CriClient>][] = [
    ["localhost", async () => connectCri({ path: stage.paths.criSocket })],
    [
      "percent-encoded path",
      async () => connectCri({ path: stage.paths.criSocket, authority: "encoded-path" }),
    ],
    ["raw path", () => connectRawCri({ path: stage.paths.criSocket })],
  ];

  it.each(authorities)("a kubelet whose :authority is the %s is answered as directly", async (_, connect) => {
    const client = await connect();
    expect(await client.call("Version")).toEqual(await direct.call("Version"));
    expect(await client.call("Status")).toEqual(await direct.call("Status"));
    const [first] = rules;
    if (!first) throw new Error("there are no rules");
    const play = { cri: client, image: stage.image, logRoot: stage.paths.podLogs };
    expect(await playRule(first, play)).toEqual(first.transcript);
    client.close();
  });

  it.each(rules)("containerd keeps its rule: $title", async (rule) => {
    const client = connectCri({ path: stage.paths.criSocket });
    const play = { cri: client, image: stage.image, logRoot: stage.paths.podLogs };
    expect(await playRule(rule, play)).toEqual(rule.transcript);
    client.close();
  });

  it("a method that the runtime does not know is refused in the runtime's own words", async () => {
    const client = connectCri({ path: stage.paths.criSocket });
    const refusal = async (cri: CriClient) =>
      cri
        .call("RuntimeConfig")
        .catch(({ code, details }: { code: number; details: string }) => ({ code, details }));
    expect(await refusal(client)).toEqual(await refusal(direct));
    client.close();
  });

  it("each call is in the record, with its status", async () => {
    const statuses = async () => {
      const lines = (await readFile(stage.paths.callLog, "utf8")).trimEnd().split("\n");
      const records = lines.map((line) => JSON.parse(line) as { method: string; status: string });
      return [...new Set(records.map(({ method, status }) => `${method} ${status}`))];
    };
    // Lines that come close together are written together, a moment later.
    await expect
      .poll(statuses, { timeout: 5_000 })
      .toEqual(expect.arrayContaining(["Version OK", "RuntimeConfig UNIMPLEMENTED", "RunPodSandbox OK"]));
  });
});

describe("when the runtime is killed", () => {
  let paths: DemoPaths;
  let containerd: PrivateContainerd;
  let proxy: Daemon;

  const start = () =>
    startContainerd({ root: paths.runtime, cniBinDir: paths.cniBin, cniConfDir: paths.cniConf });

  beforeAll(async () => {
    paths = await createPaths();
    containerd = await start();
    proxy = createCri(paths);
    await proxy.start();
  });
  afterAll(async () => {
    await proxy.stop();
    await containerd.stop();
    await rm(paths.root, { recursive: true, force: true });
  });

  it("a call in flight ends with UNAVAILABLE, new ones fail at once and say why, and all is well when it is back", async () => {
    const cri = connectCri({ path: paths.criSocket });
    const deps = { cri, kubeletRoot: paths.kubelet, logRoot: paths.podLogs };
    const pod = await startPod(deps, {
      name: "survivor",
      namespace: "demo",
      uid: "uid-survivor",
      hostNetwork: true,
      containers: [{ name: "main", image: containerd.image, command: ["sleep", "1000"] }],
    });
    const inFlight = cri
      .call("ExecSync", { container_id: pod.containers.main, cmd: ["sleep", "100"], timeout: "200" })
      .catch((error: { code: number; details: string }) => error);
    await expect.poll(() => processRuns("sleep\x00100"), { timeout: 10_000 }).toBe(true);
    process.kill(containerd.pid, "SIGKILL");
    expect(await inFlight).toMatchObject({
      code: UNAVAILABLE,
      details: expect.stringContaining(paths.runtime),
    });

    const fresh = connectCri({ path: paths.criSocket });
    // At once, that is: not at the end of the call's deadline of two minutes, which this test does not have.
    await expect(fresh.call("Version")).rejects.toMatchObject({
      code: UNAVAILABLE,
      details: expect.stringContaining(`${paths.runtime}/containerd.sock`),
    });
    fresh.close();

    containerd = await start();
    await expect.poll(() => cri.call("Version").catch(() => null), { timeout: 20_000 }).not.toBeNull();
    const { items } = await cri.call("ListPodSandbox");
    expect(items).toMatchObject([{ id: pod.sandboxId, state: "SANDBOX_READY" }]);
    await stopPod(pod, 0);
    cri.close();
  });
});

/** Whether a process has this in its command line, where arguments end with a NUL. */
async function processRuns(text: string): Promise<boolean> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")),
  );
  return lines.some((line) => line.includes(text));
}
