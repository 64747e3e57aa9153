/** An agent of its own process inside a network namespace, to be stopped, killed and looked at. */
import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** What `bin/trivet` sets, too: without it each start would strip the types of all sources again. */
const compileCache = fileURLToPath(new URL("../../../node_modules/.cache/trivet", import.meta.url));

const script = fileURLToPath(new URL("./cni-agent-process.ts", import.meta.url));

export interface AgentProcess {
  readonly pid: number;
  stop(signal?: "SIGTERM" | "SIGKILL"): Promise<void>;
  descriptors(): number;
  /** Resident memory. */
  memoryKiB(): number;
  /** What is reachable: no garbage, no pages kept for later. */
  heldKiB(): Promise<number>;
}

/** Resolves when it listens. `ip netns exec` becomes the program that it runs: the pid is the agent's. */
export async function startAgentIn(
  namespace: string,
  socket: string,
  stateDir: string,
): Promise<AgentProcess> {
  const argv = [
    process.execPath,
    "--disable-warning=ExperimentalWarning",
    "--max-semi-space-size=1",
    "--expose-gc",
    script,
  ];
  const child: ChildProcess = spawn("ip", ["netns", "exec", namespace, ...argv, socket, stateDir], {
    env: { ...process.env, NODE_COMPILE_CACHE: compileCache },
    stdio: ["ignore", "pipe", "inherit"],
  });
  await new Promise<void>((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`the agent ended with code ${code}`)));
    child.stdout?.once("data", () => resolve());
  });
  child.removeAllListeners("exit");
  const pid = child.pid ?? 0;
  return {
    pid,
    stop: (signal = "SIGTERM") =>
      new Promise((resolve) => {
        if (child.exitCode !== null || child.signalCode !== null) return resolve();
        child.once("exit", () => resolve());
        child.kill(signal);
      }),
    descriptors: () => readdirSync(`/proc/${pid}/fd`).length,
    heldKiB: async () => {
      const printed = new Promise<Buffer>((resolve) => child.stdout?.once("data", resolve));
      child.kill("SIGUSR2");
      return Math.round(Number(await printed) / 1024);
    },
    memoryKiB: () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]),
  };
}
