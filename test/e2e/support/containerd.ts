/**
 * A real containerd of our own, next to whatever the machine runs: own root, state, socket and configuration. It is
 * ended with its shims, and what it mounted below its root is unmounted; nothing outside of that root is touched.
 * No test framework is imported, so that the demo can use it as well.
 */
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createExec, execOrThrow } from "../../../src/host/exec.ts";
import { createSyscalls } from "../../../src/host/syscall.ts";
import { connectCri } from "../../fakes/kubelet/cri-client.ts";
import { containerGroups, removeContainerGroups } from "./cgroups.ts";
import { type ContainerdPaths, containerdConfig, containerdPaths } from "./containerd-config.ts";
import { busyboxImage, makeBusyboxImage } from "./oci-archive.ts";
import { mountsBelow, processTrees, waitForEnd } from "./processes.ts";

const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const READY_TIMEOUT_MS = 30_000;
const TERM_TIMEOUT_MS = 10_000;
/** A shim does not listen to SIGTERM while it has a container. */
const SHIM_TERM_TIMEOUT_MS = 500;
const KILL_TIMEOUT_MS = 5_000;
const COMMAND_TIMEOUT_MS = 60_000;
const POLL_MS = 50;
const LOG_TAIL_BYTES = 4_000;

export interface ContainerdOptions {
  /** A directory of its own, best a short path: sockets are made below it. Made if missing, removed by `stop`. */
  readonly root: string;
  readonly cniBinDir: string;
  /** Where containerd looks for the network configuration; it is looked at again whenever a file in it changes. */
  readonly cniConfDir: string;
  readonly snapshotter?: "overlayfs" | "native";
  /** More environment for containerd, which CNI plugins inherit. */
  readonly env?: Readonly<Record<string, string>>;
  /** The path of the network namespace that is the node's for it and its plugins; this process's own without it. */
  readonly netns?: string;
  /** Told in one line each what is going on. */
  readonly onProgress?: (message: string) => void;
}

export interface PrivateContainerd {
  readonly paths: ContainerdPaths;
  readonly socket: string;
  /** Another one after `restart`. */
  readonly pid: number;
  /** The image to make containers from; it is there already, as is the sandboxes' own. */
  readonly image: string;
  /** The end of containerd's log, for error messages. */
  logTail(): Promise<string>;
  /** Ends the daemon alone with SIGKILL and starts it again on what it left; its pods run on. Returns when it answers. */
  restart(): Promise<void>;
  /** Ends it with everything that it started, and removes its root. Throws if anything is left. */
  stop(): Promise<void>;
}

const exec = createExec(PATH, createSyscalls());

/** Starts containerd and returns once it answers Version and has the busybox image. Throws with the log's end. */
export async function startContainerd(options: ContainerdOptions): Promise<PrivateContainerd> {
  const { root, cniBinDir, cniConfDir, snapshotter = "overlayfs", onProgress = () => undefined } = options;
  const paths = containerdPaths(root);
  await mkdir(root, { recursive: true, mode: 0o711 });
  await mkdir(cniConfDir, { recursive: true });
  await writeFile(paths.config, containerdConfig({ paths, cniBinDir, cniConfDir, snapshotter }));
  onProgress(`starting containerd with root ${root}`);
  const groups = await containerGroups();
  let daemon = await launch(paths, options);
  const containerd: PrivateContainerd = {
    paths,
    socket: paths.socket,
    get pid() {
      return daemon.pid;
    },
    image: busyboxImage,
    logTail: () => readTail(paths.log),
    async restart() {
      onProgress("killing containerd and starting it again");
      if (daemon.ended === undefined) await killProcesses([daemon.pid]);
      daemon = await launch(paths, options);
      await waitUntilReady(paths, daemon);
    },
    stop: () => stopContainerd({ paths, daemon, groups, onProgress }),
  };
  try {
    await waitUntilReady(paths, daemon);
    onProgress("importing a busybox image made on this machine");
    await importBusybox(paths);
    return containerd;
  } catch (error) {
    const tail = await containerd.logTail();
    await containerd.stop().catch(() => undefined);
    throw new Error(`containerd did not start: ${(error as Error).message}\n${tail}`, { cause: error });
  }
}

interface Daemon {
  readonly pid: number;
  /** Set when it has ended, to how. */
  ended: string | undefined;
}

async function launch(paths: ContainerdPaths, { env, netns }: ContainerdOptions): Promise<Daemon> {
  const log = openSync(paths.log, "a");
  // nsenter becomes what it starts: the pid is containerd's.
  const entering = netns === undefined ? [] : ["nsenter", `--net=${netns}`];
  const [program = "containerd", ...argv] = [...entering, "containerd", "--config", paths.config];
  const child = spawn(program, argv, {
    // A group of its own: a Ctrl-C at a terminal must reach us first, who then end it in order.
    detached: true,
    stdio: ["ignore", log, log],
    env: { PATH, LC_ALL: "C", ...env },
  });
  closeSync(log);
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (cause) =>
      reject(new Error("containerd cannot be run: install the package containerd", { cause })),
    );
  });
  const daemon: Daemon = { pid: child.pid ?? 0, ended: undefined };
  child.once("exit", (code, signal) => {
    daemon.ended = `it ended with ${signal ?? `code ${code}`}`;
  });
  child.unref();
  return daemon;
}

async function waitUntilReady({ socket }: ContainerdPaths, daemon: Daemon): Promise<void> {
  const cri = connectCri({ path: socket });
  const until = performance.now() + READY_TIMEOUT_MS;
  try {
    for (;;) {
      try {
        await cri.call("Version", {}, { timeoutMs: 1000 });
        return;
      } catch (error) {
        if (daemon.ended !== undefined) throw new Error(daemon.ended);
        if (performance.now() > until) throw error;
      }
      await sleep(POLL_MS);
    }
  } finally {
    cri.close();
  }
}

async function importBusybox({ root, socket }: ContainerdPaths): Promise<void> {
  const archive = join(root, "busybox.tar");
  await makeBusyboxImage(archive);
  await execOrThrow(
    exec,
    ["ctr", "--address", socket, "--namespace", "k8s.io", "images", "import", archive],
    {
      timeoutMs: COMMAND_TIMEOUT_MS,
    },
  );
  await rm(archive);
}

interface Stopping {
  readonly paths: ContainerdPaths;
  readonly daemon: Daemon;
  /** The control groups that were there before containerd was. */
  readonly groups: readonly string[];
  readonly onProgress: (message: string) => void;
}

async function stopContainerd({ paths, daemon, groups, onProgress }: Stopping): Promise<void> {
  const { root, socket } = paths;
  onProgress("stopping containerd and what it started");
  // In order, with CNI's DEL, as long as containerd answers; whatever that leaves is ended below.
  await removeSandboxes(socket).catch(() => undefined);
  // The number of a process that has ended may be another's by now.
  if (daemon.ended === undefined) await endProcesses([daemon.pid], TERM_TIMEOUT_MS);
  const left = await processTrees(({ argv }) => isShimOf(argv, socket));
  await endProcesses(
    left.map(({ pid }) => pid),
    SHIM_TERM_TIMEOUT_MS,
  );
  const tasks = await readdir(join(paths.state, "io.containerd.runtime.v2.task", "k8s.io")).catch(() => []);
  await removeContainerGroups(tasks, groups);
  for (const path of await mountsBelow(root)) {
    await exec(["umount", path], { timeoutMs: COMMAND_TIMEOUT_MS });
  }
  const mounts = await mountsBelow(root);
  if (mounts.length > 0) throw new Error(`still mounted below ${root}: ${mounts.join(", ")}`);
  await rm(root, { recursive: true, force: true });
}

/** A shim has its containerd's address among its arguments: so it and its containers are known to be ours. */
function isShimOf(argv: readonly string[], socket: string): boolean {
  const [program = ""] = argv;
  return /\/containerd-shim[^/]*$/.test(program) && argv[argv.indexOf("-address") + 1] === socket;
}

async function removeSandboxes(socket: string): Promise<void> {
  const cri = connectCri({ path: socket, runtimeRequestTimeoutMs: TERM_TIMEOUT_MS });
  try {
    const { items } = await cri.call("ListPodSandbox");
    for (const { id } of items) {
      await cri.call("StopPodSandbox", { pod_sandbox_id: id });
      await cri.call("RemovePodSandbox", { pod_sandbox_id: id });
    }
  } finally {
    cri.close();
  }
}

async function endProcesses(pids: readonly number[], termTimeoutMs: number): Promise<void> {
  signalAll(pids, "SIGTERM");
  if (await waitForEnd(pids, termTimeoutMs)) return;
  await killProcesses(pids);
}

async function killProcesses(pids: readonly number[]): Promise<void> {
  signalAll(pids, "SIGKILL");
  if (!(await waitForEnd(pids, KILL_TIMEOUT_MS))) {
    throw new Error(`processes survived SIGKILL: ${pids.join(", ")}`);
  }
}

function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }
}

async function readTail(path: string): Promise<string> {
  const text = await readFile(path, "utf8").catch(() => "");
  return text.slice(-LOG_TAIL_BYTES);
}
