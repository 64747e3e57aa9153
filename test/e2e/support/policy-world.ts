/** A real containerd behind the proxy, with a directory of policies: for looking at what containers see of them. */
import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { controlSocketPath } from "../../../src/commands/cri/reload-control.ts";
import { createDaemon, type Daemon, socketAnswers } from "../../../src/commands/demo/daemon.ts";
import { createPaths, type DemoPaths } from "../../../src/commands/demo/files.ts";
import type { CallRecord } from "../../../src/cri/record/call-record.ts";
import { askAdmin } from "../../../src/host/admin-socket.ts";
import { packageRoot } from "../../../src/host/package-root.ts";
import { type CriClient, connectCri } from "../../fakes/kubelet/cri-client.ts";
import { containerConfig, type PodSpec, sandboxConfig } from "../../fakes/kubelet/pod-config.ts";
import { type PrivateContainerd, startContainerd } from "./containerd.ts";

const run = promisify(execFile);

export interface RunningContainer {
  readonly sandboxId: string;
  readonly containerId: string;
  /** What a command in it prints. */
  exec(...cmd: string[]): Promise<string>;
}

export interface ContainerWish {
  readonly namespace: string;
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly image?: string;
  readonly imageId?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly mounts?: readonly object[];
  readonly resources?: object;
  readonly security?: object;
  readonly runtimeHandler?: string;
}

export interface PolicyWorld {
  readonly paths: DemoPaths;
  readonly containerd: PrivateContainerd;
  readonly proxy: Daemon;
  readonly cri: CriClient;
  /** Puts these files in the place of all policies, and waits until they are in force. */
  use(files: Readonly<Record<string, string>>): Promise<void>;
  /** `trivet` with these arguments. */
  trivet(
    ...args: string[]
  ): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }>;
  /** Sandbox, container, start. */
  start(wish: ContainerWish): Promise<RunningContainer>;
  records(): Promise<CallRecord[]>;
  stop(): Promise<void>;
}

/** An example as it is shipped. */
export function readExample(name: string): Promise<string> {
  return readFile(join(packageRoot, "daemonset/policies", `${name}.yaml`), "utf8");
}

export async function createPolicyWorld(...args: readonly string[]): Promise<PolicyWorld> {
  const paths = await createPaths();
  const containerd = await startContainerd({
    ...{ root: paths.runtime, cniBinDir: paths.cniBin, cniConfDir: paths.cniConf },
  });
  const proxy = createDaemon({
    args: [
      ...["cri", "--listen", `unix://${paths.criSocket}`, "--upstream", `unix://${containerd.socket}`],
      ...["--policy-dir", paths.policies, "--call-log", paths.callLog, ...args],
    ],
    logFile: join(paths.logs, "cri.log"),
    ready: socketAnswers(paths.criSocket),
  });
  await proxy.start();
  const cri = connectCri({ path: paths.criSocket });
  let pods = 0;

  const trivet: PolicyWorld["trivet"] = async (...words) => {
    try {
      return { code: 0, ...(await run(join(packageRoot, "bin/trivet"), words)) };
    } catch (error) {
      return error as { code: number; stdout: string; stderr: string };
    }
  };

  return {
    ...{ paths, containerd, proxy, cri, trivet },
    async use(files) {
      for (const name of await readdir(paths.policies))
        await rm(join(paths.policies, name), { recursive: true });
      for (const [name, text] of Object.entries(files)) await writeFile(join(paths.policies, name), text);
      // As `trivet cri reload --policies`, which would be a process each time.
      await askAdmin(controlSocketPath(paths.criSocket), "policies", null);
    },
    async start(wish) {
      const { namespace, name = `pod-${++pods}`, image = containerd.image } = wish;
      const wanted = { name: "main", image, command: ["sleep", "1000"], env: wish.env ?? {} };
      const spec: PodSpec = {
        ...{ name, namespace, uid: `uid-${name}`, hostNetwork: true, containers: [wanted] },
        labels: wish.labels ?? {},
      };
      const sandbox_config = sandboxConfig(spec, paths.podLogs);
      await mkdir(sandbox_config.log_directory, { recursive: true });
      await mkdir(join(sandbox_config.log_directory, "main"), { recursive: true });
      const { pod_sandbox_id } = await cri.call("RunPodSandbox", {
        config: sandbox_config,
        runtime_handler: wish.runtimeHandler ?? "",
      });
      const base = containerConfig(spec, wanted, { imageId: wish.imageId ?? image, volumes: [] });
      const config = {
        ...base,
        mounts: [...base.mounts, ...(wish.mounts ?? [])],
        linux: {
          resources: { ...base.linux.resources, ...wish.resources },
          security_context: {
            namespace_options: { network: "NODE", pid: "CONTAINER", ipc: "POD" },
            ...wish.security,
          },
        },
      };
      const { container_id } = await cri.call("CreateContainer", { pod_sandbox_id, config, sandbox_config });
      await cri.call("StartContainer", { container_id });
      return {
        ...{ sandboxId: pod_sandbox_id, containerId: container_id },
        async exec(...cmd) {
          const { stdout, stderr, exit_code } = await cri.call("ExecSync", {
            container_id,
            cmd,
            timeout: "10",
          });
          if (exit_code !== 0) throw new Error(`${cmd.join(" ")}: ${stderr}`);
          return stdout.toString();
        },
      };
    },
    async records() {
      const text = await readFile(paths.callLog, "utf8").catch(() => "");
      return text.split("\n").flatMap((line) => (line ? [JSON.parse(line) as CallRecord] : []));
    },
    async stop() {
      cri.close();
      await proxy.stop();
      await containerd.stop();
      await rm(paths.root, { recursive: true, force: true });
    },
  };
}
