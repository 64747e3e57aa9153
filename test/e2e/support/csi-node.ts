/**
 * `trivet node` as a process of its own, with its CSI leg alone: real sockets, real mounts, and an end by any signal. It is
 * started as often as a test likes on one scratch directory, which is its state.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createMounts } from "../../../src/host/mount.ts";
import { createSyscalls } from "../../../src/host/syscall.ts";
import { type CsiClient, createCsiClient } from "../../conformance/csi/client.ts";
import { loopsBelow, run } from "./image-world.ts";

/** A driver that answers. */
export interface CsiNode {
  readonly client: CsiClient;
  readonly pid: number;
  /** What it logged so far. */
  log(): string;
  /** The values of metrics without labels, from one scrape. */
  metrics<Name extends string>(names: Readonly<Record<Name, string>>): Promise<Record<Name, number>>;
  /** Ends it, by default in order, and resolves when it is gone. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** Where it keeps everything. */
export interface CsiScratch {
  readonly root: string;
  readonly kubeletRoot: string;
  readonly stateDir: string;
  readonly socket: string;
  /** Unmounts and detaches what is left below it, and removes it. */
  remove(): Promise<void>;
}

const START_MS = 60_000;
const POLL_MS = 10;
const project = fileURLToPath(new URL("../../..", import.meta.url));
const UMOUNT_NOFOLLOW = 8;

/** A directory that nobody else has, with the parts that a node has outside of the driver. */
export async function createCsiScratch(name: string): Promise<CsiScratch> {
  if (process.getuid?.() !== 0) throw new Error("these tests mount: run them as root");
  const root = await mkdtemp(join(tmpdir(), `trivet-${name}-`));
  const kubeletRoot = join(root, "kubelet");
  await mkdir(kubeletRoot);
  return {
    ...{ root, kubeletRoot, stateDir: join(root, "state"), socket: join(root, "csi.sock") },
    async remove() {
      const syscalls = createSyscalls();
      const mounts = await createMounts(syscalls).list();
      const own = mounts.filter(({ mountPoint }) => mountPoint.startsWith(`${root}/`));
      for (const { mountPoint } of own.reverse()) await syscalls.unmount(mountPoint, UMOUNT_NOFOLLOW);
      // A test that failed leaves volumes attached.
      for (const line of await loopsBelow(root)) await run("losetup", "--detach", line.split(" ")[0] ?? "");
      await rm(root, { recursive: true });
    },
  };
}

/** Starts it on the scratch directory and waits until it is ready. `pools` as `--pool` takes them. */
export async function startCsiNode(
  { kubeletRoot, stateDir, socket }: CsiScratch,
  pools: readonly string[],
  more: readonly string[] = [],
): Promise<CsiNode> {
  const child = spawn(
    process.execPath,
    [
      ...["--disable-warning=ExperimentalWarning", "src/main.ts", "node", "--node-id", "node-1", "--no-cni"],
      ...["--csi-endpoint", `unix://${socket}`, "--kubelet-root", kubeletRoot, "--state-dir", stateDir],
      ...["--health-address", "127.0.0.1:0", ...pools.flatMap((pool) => ["--pool", pool]), ...more],
    ],
    { cwd: project, stdio: ["ignore", "ignore", "pipe"] },
  );
  let log = "";
  child.stderr.on("data", (chunk: Buffer) => {
    log += chunk.toString();
  });
  const exited = once(child, "exit");
  const client = createCsiClient(socket, 60_000);
  await untilReady(child, socket, client).catch(async (error: Error) => {
    client.close();
    const waits = await waitsOf(child.pid ?? 0);
    child.kill("SIGKILL");
    throw new Error(`${error.message}; its threads wait in ${waits}; it said: ${log.slice(-2_000)}`);
  });
  return {
    ...{ client, pid: child.pid ?? 0, log: () => log },
    async metrics(names) {
      const [, address] = /"health":"([^"]+)"/.exec(log) ?? [];
      const body = await (await fetch(`http://${address}/metrics`)).text();
      const find = (name: unknown) => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(body)?.[1]);
      const values = Object.entries(names).map(([name, metric]) => [name, find(metric)]);
      return Object.fromEntries(values) as Record<keyof typeof names, number>;
    },
    async stop(signal = "SIGTERM") {
      client.close();
      child.kill(signal);
      await exited;
    },
  };
}

/** What the threads of a process are waiting for in the kernel. */
async function waitsOf(pid: number): Promise<string> {
  const tasks = await readdir(`/proc/${pid}/task`).catch(() => []);
  const waits = await Promise.all(
    tasks.map((task) => readFile(`/proc/${pid}/task/${task}/wchan`, "utf8").catch(() => "?")),
  );
  return waits.join(", ");
}

async function untilReady(child: ChildProcess, socket: string, client: CsiClient): Promise<void> {
  for (const end = Date.now() + START_MS; Date.now() < end; await sleep(POLL_MS)) {
    if (child.exitCode !== null) throw new Error(`trivet node ended with code ${child.exitCode}`);
    if (!existsSync(socket)) continue;
    const probe = await client
      .call<{ ready: { value: boolean } | null }>("Identity", "Probe")
      .catch(() => undefined);
    if (probe?.ready?.value) return;
  }
  throw new Error(`trivet node was not ready within ${START_MS} ms`);
}
