/** `trivet node` itself, as a process of the guest, with its CSI socket. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { type CsiClient, createCsiClient } from "../../conformance/csi/client.ts";

/** A driver that answers. */
export interface NodeProcess {
  readonly client: CsiClient;
  readonly socket: string;
  readonly kubeletRoot: string;
  /** What it logged so far. */
  log(): string;
  /** Ends it in order and gives its exit code. */
  stop(): Promise<number | null>;
}

/** Where pods and staging paths are, of this boot. */
export const kubeletRoot = "/run/kubelet";
const START_MS = 180_000;
const CALL_MS = 60_000;

/** Starts it and waits until it is ready. `pools` as `--pool` takes them. */
export async function startNode(pools: readonly string[], stateDir: string): Promise<NodeProcess> {
  const socket = "/run/csi/csi.sock";
  for (const path of [kubeletRoot, "/run/csi", stateDir]) mkdirSync(path, { recursive: true });
  const child = spawn(
    process.execPath,
    [
      ...["--disable-warning=ExperimentalWarning", "src/main.ts", "node", "--node-id", "guest", "--no-cni"],
      ...["--csi-endpoint", `unix://${socket}`, "--kubelet-root", kubeletRoot, "--state-dir", stateDir],
      ...["--health-address", "127.0.0.1:9808", ...pools.flatMap((pool) => ["--pool", pool])],
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  let log = "";
  child.stderr.on("data", (chunk: Buffer) => {
    log += chunk.toString();
  });
  const client = createCsiClient(socket, CALL_MS);
  await untilReady(child, socket, client).catch((error: Error) => {
    throw new Error(`${error.message}; it said: ${log.slice(-2_000)}`);
  });
  return {
    ...{ client, socket, kubeletRoot, log: () => log },
    async stop() {
      client.close();
      if (child.exitCode === null && child.signalCode === null) {
        child.kill("SIGTERM");
        await once(child, "exit");
      }
      return child.exitCode;
    },
  };
}

async function untilReady(child: ChildProcess, socket: string, client: CsiClient): Promise<void> {
  for (const end = Date.now() + START_MS; Date.now() < end; await sleep(200)) {
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error(`trivet node ended with ${child.exitCode ?? child.signalCode}`);
    if (!existsSync(socket)) continue;
    const probe = await client
      .call<{ ready: { value: boolean } | null }>("Identity", "Probe")
      .catch(() => undefined);
    if (probe?.ready?.value) return;
  }
  throw new Error(`trivet node was not ready within ${START_MS} ms`);
}
