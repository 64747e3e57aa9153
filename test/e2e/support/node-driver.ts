/**
 * What a `WholeNode` does for a test, as a process within: it is the part of the kubelet that makes pods and mounts their volumes, through
 * the socket that the kubelet was told last, and the load. One request a line of JSON on stdin, `{id, verb, given}`; one answer a line.
 */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { get } from "node:http";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { type CriClient, connectCri } from "../../fakes/kubelet/cri-client.ts";
import { type CsiClient, createCsiClient } from "../../fakes/kubelet/csi-client.ts";
import { volumePaths } from "../../fakes/kubelet/csi-paths.ts";
import { PodStartError, type RunningPod, startPod, stopPod } from "../../fakes/kubelet/pod.ts";
import type { PodSpec } from "../../fakes/kubelet/pod-config.ts";
import {
  type CreateVolumeOptions,
  createVolume,
  deleteVolume,
  mountVolume,
  unmountVolume,
} from "../../fakes/kubelet/volumes.ts";
import { startCriLoad } from "./cri-load.ts";
import { type DaemonSetPod, type StartedContainer, startDaemonSetPod } from "./daemonset-pod.ts";

const driver = "local.csi.trivet.dev";
const kubeletRoot = "/var/lib/kubelet";
const flagsFile = `${kubeletRoot}/kubeadm-flags.env`;
const UNAVAILABLE = 14;

const endpoint = () =>
  /--container-runtime-endpoint=unix:\/\/([^" ]+)/.exec(readFileSync(flagsFile, "utf8"))?.[1] ?? "";

let connected: CriClient | undefined;
/** As a kubelet is started anew when its flags change. */
function current(): CriClient {
  const path = endpoint();
  if (connected?.path !== path) {
    connected?.close();
    connected = connectCri({ path });
  }
  return connected;
}
const cri: CriClient = {
  get path() {
    return endpoint();
  },
  call: (method, request, settings) => current().call(method, request, settings),
  stream: (method, request, settings) => current().stream(method, request, settings),
  close: () => connected?.close(),
};

const RETRY_MS = 50;
const RETRIES = 600;

/** The kubelet and the provisioner try again what was UNAVAILABLE; every other failure counts. */
async function withRetries<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      if ((error as { code?: number }).code !== UNAVAILABLE || tries === RETRIES) throw error;
      await sleep(RETRY_MS);
    }
  }
}

const plainCsi = createCsiClient(volumePaths(kubeletRoot).socket(driver));
const csi: CsiClient = {
  path: plainCsi.path,
  call: (method, request, timeoutMs) => withRetries(() => plainCsi.call(method, request, timeoutMs)),
};
const deps = { cri, csi, kubeletRoot, logRoot: "/var/log/pods" };

type PodState = Omit<RunningPod, "deps" | "steps">;
const stateOf = ({ deps: _deps, steps: _steps, volumes, ...pod }: RunningPod): PodState => ({
  ...pod,
  volumes: volumes.map(({ csi: _csi, ...volume }) => volume as RunningPod["volumes"][number]),
});
const podOf = ({ volumes, ...state }: PodState): RunningPod => ({
  ...{ ...state, deps, steps: [], volumes: volumes.map((volume) => ({ ...volume, csi })) },
});

const run = (argv: readonly string[], { env = {}, input = "" } = {}) =>
  new Promise<void>((resolve, reject) => {
    const [program = "", ...args] = argv;
    const child = execFile(program, args, { env: { ...process.env, ...env } }, (error, stdout, stderr) =>
      error ? reject(new Error(`${argv.join(" ")}: ${stdout}${stderr}`)) : resolve(),
    );
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(input);
  });

/** One pod's network, as a runtime makes and deletes it. */
async function networkPair(name: string): Promise<void> {
  const conflist = JSON.parse(readFileSync("/etc/cni/net.d/10-trivet.conflist", "utf8"));
  await run(["ip", "netns", "add", name]);
  for (const CNI_COMMAND of ["ADD", "DEL"]) {
    const env = {
      ...{ CNI_COMMAND, CNI_CONTAINERID: name, CNI_IFNAME: "eth0", CNI_PATH: "/opt/cni/bin" },
      ...{ CNI_NETNS: `/run/netns/${name}`, CNI_ARGS: `K8S_POD_NAMESPACE=load;K8S_POD_NAME=${name}` },
    };
    const input = JSON.stringify({ ...conflist.plugins[0], name: conflist.name, cniVersion: "1.0.0" });
    await run(["/opt/cni/bin/trivet"], { env, input });
  }
  await run(["ip", "netns", "del", name]);
}

async function volumeCycle(name: string): Promise<void> {
  const { volume_id: volumeId } = await createVolume(csi, { name, sizeBytes: 1 << 20 });
  const mounted = await mountVolume({ csi, driver, kubeletRoot, podUid: name, name, volumeId });
  await unmountVolume(mounted);
  await deleteVolume(csi, volumeId);
}

async function podCycle(name: string): Promise<void> {
  const image = "trivet.local/busybox:1";
  const containers = [{ name: "main", image, command: ["sleep", "600"] }];
  try {
    await stopPod(await startPod(deps, { name, namespace: "load", uid: name, containers }), 0);
  } catch (error) {
    if (error instanceof PodStartError) await stopPod(error.pod, 0).catch(() => undefined);
    throw error;
  }
}

/** A page of a pod that runs. */
const fetchPage = (ip: string) =>
  new Promise<string>((resolve, reject) => {
    const request = get({ host: ip, path: "/alive", timeout: 5000, agent: false }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => {
        text += chunk;
      });
      response.on("end", () => resolve(text));
    });
    request.on("timeout", () => request.destroy(new Error("no answer within 5 s")));
    request.on("error", reject);
  });

export interface LoadReport {
  /** What was done, by kind. */
  readonly done: Readonly<Record<string, number>>;
  /** Distinct texts, each with how often. */
  readonly failures: Readonly<Record<string, number>>;
}

interface Load {
  stop(): Promise<LoadReport>;
}

let loads = 0;

/** Each kind one after the other without a pause, all kinds at once. */
function startLoad({ ip, pods }: { ip: string; pods: boolean }): Load {
  const done: Record<string, number> = {};
  const failures: Record<string, number> = {};
  const fail = (text: string) => {
    failures[text] = (failures[text] ?? 0) + 1;
  };
  let stopping = false;
  const number = ++loads;
  const repeat = async (kind: string, work: (name: string) => Promise<unknown>) => {
    for (let count = 0; !stopping; count += 1) {
      try {
        await work(`load-${number}-${kind}-${count}`);
        done[kind] = (done[kind] ?? 0) + 1;
      } catch (error) {
        fail(`${kind}: ${(error as Error).message}`);
        await sleep(RETRY_MS);
      }
    }
  };
  const callers = startCriLoad({ path: endpoint(), callers: 2, connections: 2 });
  const running = [
    repeat("network", networkPair),
    repeat("volume", volumeCycle),
    repeat("page", async () => {
      await fetchPage(ip);
      await sleep(RETRY_MS);
    }),
    ...(pods ? [repeat("pod", podCycle)] : []),
  ];
  return {
    async stop() {
      stopping = true;
      await Promise.all([callers.stop(), ...running]);
      for (const text of callers.failures) fail(`call: ${text}`);
      return { done: { ...done, call: callers.calls }, failures };
    },
  };
}

let daemonSet: { readonly pod: DaemonSetPod; readonly image: string } | undefined;
let agent: StartedContainer | undefined;
let load: Load | undefined;

interface DaemonSetGiven {
  readonly image: string;
  readonly install: readonly string[];
  readonly node: readonly string[];
}

async function stopDaemonSet(): Promise<number | undefined> {
  const exitCode = await agent?.stop();
  await daemonSet?.pod.stop();
  agent = undefined;
  daemonSet = undefined;
  return exitCode;
}

/** As the kubelet makes a pod of the DaemonSet: its init containers one after the other, then the daemon. */
async function startDaemonSet({ image, install, node }: DaemonSetGiven): Promise<string[]> {
  const pod = await startDaemonSetPod({ cri, image, node: "/", own: "/run/daemonset", alike: [] });
  daemonSet = { pod, image };
  const outputs: string[] = [];
  for (const args of pod.initArgs) {
    const { exitCode, output } = await pod.run([...args, ...install]);
    outputs.push(output);
    if (exitCode !== 0) throw new Error(`${args.join(" ")}: code ${exitCode}\n${output}`);
  }
  agent = await pod.start([...pod.args, ...node]);
  return outputs;
}

const verbs = {
  startPod: async (spec: PodSpec) => stateOf(await startPod(deps, spec)),
  stopPod: async (pod: PodState) => stopPod(podOf(pod), 0),
  exec: async ({ id, cmd }: { id: string; cmd: readonly string[] }) => {
    const answer = await cri.call("ExecSync", { container_id: id, cmd, timeout: "10" });
    return { status: answer.exit_code, output: `${answer.stdout}${answer.stderr}` };
  },
  createVolume: async (options: CreateVolumeOptions) => createVolume(csi, options),
  deleteVolume: async (id: string) => deleteVolume(csi, id),
  startDaemonSet,
  stopDaemonSet,
  daemonSetLog: async () => agent?.output() ?? "",
  /** One container of the image in the DaemonSet's pod, to its end. */
  runInPod: async (args: readonly string[]) => {
    if (!daemonSet) throw new Error("the DaemonSet has no pod");
    return daemonSet.pod.run(args);
  },
  startLoad: async (given: { ip: string; pods: boolean }) => {
    load = startLoad(given);
  },
  stopLoad: async (): Promise<LoadReport> => {
    if (!load) throw new Error("there is no load");
    return load.stop();
  },
  /** Sandboxes that a kubelet would not know any more. */
  removeDeadSandboxes: async () => {
    const { items } = await cri.call("ListPodSandbox");
    for (const { id, state } of items) {
      if (state === "SANDBOX_READY") continue;
      await cri.call("StopPodSandbox", { pod_sandbox_id: id });
      await cri.call("RemovePodSandbox", { pod_sandbox_id: id });
    }
  },
};

export type DriverVerbs = typeof verbs;

for await (const line of createInterface({ input: process.stdin })) {
  const { id, verb, given } = JSON.parse(line) as { id: number; verb: keyof DriverVerbs; given: never };
  const answer = (outcome: object) => process.stdout.write(`${JSON.stringify({ id, ...outcome })}\n`);
  verbs[verb](given).then(
    (value) => answer({ value }),
    (error: Error) => answer({ error: error.message }),
  );
}
process.exit(0);
